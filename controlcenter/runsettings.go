package controlcenter

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Run is how a service's instances are started, in words.
func Run(s *cluster.Service) string {
	r := s.Run
	if r == nil {
		return none
	}
	parts := []string{cmp.Or(r.Driver, cluster.DriverProcess)}
	add := func(set bool, format string, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(len(r.Command) > 0, "%q", r.Command)
	add(r.Image != "", "image %s", r.Image)
	at := make([]string, len(r.Instances))
	for i, one := range r.Instances {
		at[i] = one.Address()
	}
	add(len(at) > 0, "at %s", strings.Join(at, ", "))
	add(len(r.Env) > 0, "with %s", pairs(r.Env))
	add(r.Dir != "", "in %s", r.Dir)
	add(r.User != "", "as %s", r.User)
	add(r.Resources.CPU > 0, "cpu %g", r.Resources.CPU)
	add(r.Resources.Memory > 0, "memory %s", r.Resources.Memory)
	add(true, "grace %s", cmp.Or(r.Grace, cluster.DefaultGrace))
	add(r.Drain > 0, "drain %s", r.Drain)
	add(r.Log != "", "log to %s", r.Log)
	add(len(r.Nodes) > 0, "on nodes %s", pairs(r.Nodes))
	return strings.Join(parts, " ")
}

// Scale is how the number of a service's instances follows its load, in words.
func Scale(s *cluster.Service) string {
	c := s.Scale
	if c == nil {
		return none
	}
	text := fmt.Sprintf("%d..%d", c.Min, c.Max)
	for _, m := range c.Metrics {
		text += fmt.Sprintf(" %s %g", m.Metric, m.Target)
	}
	text += fmt.Sprintf(" window %s", cmp.Or(c.Window, cluster.DefaultWindow))
	if s.Sleeps() || c.Idle != 0 {
		text += fmt.Sprintf(" idle %s", cmp.Or(c.Idle, cluster.DefaultIdle))
	}
	return text
}

// replicas is how many instances the file asks for; what was said by weir scale counts until it says something else.
func replicas(s *cluster.Service) string {
	if s.Replicas == nil {
		return "as they are"
	}
	return fmt.Sprint(*s.Replicas)
}

func restart(s *cluster.Service) string {
	if s.Restart == nil || s.Restart.After == 0 {
		return "after three times the check's fall"
	}
	return fmt.Sprintf("after %d failing checks", s.Restart.After)
}
