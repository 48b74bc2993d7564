package controlcenter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Step is one thing that a plan changes.
type Step struct {
	Sign string `json:"sign"` // + added, - removed, ~ changed
	What string `json:"what"` // "service", "balance", "instance 10.0.0.1:80"
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

func (s Step) String() string {
	switch {
	case s.Sign == "~":
		return fmt.Sprintf("~ %s: %s -> %s", s.What, s.From, s.To)
	case s.From+s.To != "":
		return fmt.Sprintf("%s %s: %s", s.Sign, s.What, s.From+s.To)
	}
	return s.Sign + " " + s.What
}

// steps compares two forms of a service by what they mean: the order of lists does not matter, nor whether a default is
// written out.
func steps(old, new *cluster.Service) (out []Step) {
	fresh := old == nil
	if fresh {
		old = &cluster.Service{}
		out = append(out, Step{Sign: "+", What: "service " + new.Name})
	}
	for _, set := range settings {
		from, to := set.words(old), set.words(new)
		switch {
		case fresh && (set.always || from != to):
			out = append(out, Step{Sign: "+", What: set.name, To: to})
		case !fresh:
			out = changed(out, set.name, from, to)
		}
	}
	out = append(out, frontendSteps(old, new)...)
	return append(out, instanceSteps(old, new)...)
}

func balance(s *cluster.Service) string {
	if s.Balance == "" {
		return string(cluster.BalanceStatic)
	}
	return string(s.Balance)
}

func affinity(s *cluster.Service) string {
	if s.Affinity == "" {
		return string(cluster.AffinityNone)
	}
	return string(s.Affinity)
}

func locality(s *cluster.Service) string {
	if s.Locality == "" {
		return string(cluster.LocalityNone)
	}
	return string(s.Locality)
}

// sources are who may connect, in an order that does not depend on the file's.
func sources(s *cluster.Service) string {
	if !s.Guarded() {
		return "everybody"
	}
	names := make([]string, 0, len(s.Sources))
	for _, p := range s.Sources {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func frontendSteps(old, new *cluster.Service) (out []Step) {
	before, after := portNames(old), portNames(new)
	for _, f := range slices.SortedFunc(maps.Keys(before), cluster.Frontend.Compare) {
		if _, stays := after[f]; !stays {
			out = append(out, Step{Sign: "-", What: "frontend " + f.String()})
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(after), cluster.Frontend.Compare) {
		if name, was := before[f]; !was {
			out = append(out, Step{Sign: "+", What: "frontend " + f.String()})
		} else {
			out = changed(out, "name of port "+f.String(), quoted(name), quoted(after[f]))
		}
	}
	return out
}

func portNames(s *cluster.Service) map[cluster.Frontend]string {
	out := map[cluster.Frontend]string{}
	for _, vip := range s.VIPs {
		for _, p := range s.Ports {
			out[cluster.Frontend{VIP: vip, Proto: p.Protocol, Port: p.Port}] = p.Name
		}
	}
	return out
}

func instanceSteps(old, new *cluster.Service) (out []Step) {
	before, after := instances(old), instances(new)
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, stays := after[id]; !stays {
			out = append(out, Step{Sign: "-", What: "instance " + id})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		a, was := before[id]
		b := after[id]
		if !was {
			out = append(out, Step{Sign: "+", What: "instance " + id, To: described(b)})
			continue
		}
		what := "instance " + id
		out = changed(out, what+" address", a.Address(), b.Address())
		out = changed(out, what+" weight", fmt.Sprint(a.Weight), fmt.Sprint(b.Weight))
		out = changed(out, what+" ports", numbers(a.Ports), numbers(b.Ports))
		out = changed(out, what+" standby", fmt.Sprint(a.Standby), fmt.Sprint(b.Standby))
		out = changed(out, what+" labels", pairs(a.Labels), pairs(b.Labels))
	}
	return out
}

// described is a new instance with everything that is said of it.
func described(i cluster.Instance) string {
	s := i.Address()
	if len(i.Ports) > 0 {
		s += ", ports " + numbers(i.Ports)
	}
	s += fmt.Sprintf(", weight %d", i.Weight)
	if i.Standby {
		s += ", standby"
	}
	if len(i.Labels) > 0 {
		s += ", labels " + pairs(i.Labels)
	}
	return s
}

// numbers are ports as a service file writes them.
func numbers(ports map[string]uint16) string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		out = append(out, fmt.Sprintf("%s: %d", name, ports[name]))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func instances(s *cluster.Service) map[string]cluster.Instance {
	out := map[string]cluster.Instance{}
	for _, i := range s.Instances {
		out[i.ID] = i
	}
	return out
}

func changed(out []Step, what, from, to string) []Step {
	if from == to {
		return out
	}
	return append(out, Step{Sign: "~", What: what, From: from, To: to})
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func pairs(labels map[string]string) string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, fmt.Sprintf("%q=%q", k, labels[k]))
	}
	return "{" + strings.Join(out, " ") + "}"
}
