package controlcenter

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// none is what a setting says that is left out.
const none = "none"

// Check is a service's check in words, with what its file leaves out: "http /healthz every 2s, timeout 1s, rise 2, fall 3".
func Check(s *cluster.Service) string {
	if s.Check == nil {
		return none
	}
	c := s.Check.WithDefaults()
	parts := append([]string{c.Kind()}, checkKind(c)...)
	if c.Port != "" {
		parts = append(parts, "on port "+c.Port)
	}
	text := fmt.Sprintf("%s every %s, timeout %s, rise %d, fall %d", strings.Join(parts, " "), c.Interval, c.Timeout, c.Rise, c.Fall)
	if c.Grace > 0 {
		text += fmt.Sprintf(", grace %s", c.Grace)
	}
	return text
}

// checkKind is what the kind of a check adds to its name.
func checkKind(c cluster.Check) (parts []string) {
	switch {
	case c.HTTP != nil:
		h := c.HTTP
		parts = append(parts, h.Path)
		if h.Host != "" {
			parts = append(parts, "of host "+h.Host)
		}
		if h.Status != "200-399" {
			parts = append(parts, "answers "+h.Status)
		}
		if len(h.Headers) > 0 {
			parts = append(parts, "with headers "+pairs(h.Headers))
		}
		if h.Contains != "" {
			parts = append(parts, "contains "+quoted(h.Contains))
		}
		return append(parts, tls(h.TLS)...)
	case c.GRPC != nil:
		if c.GRPC.Service != "" {
			parts = append(parts, quoted(c.GRPC.Service))
		}
		return append(parts, tls(c.GRPC.TLS)...)
	case c.Exec != nil:
		return []string{fmt.Sprintf("%q", c.Exec.Command)}
	case c.TTL != nil:
		return []string{c.TTL.TTL.String()}
	}
	return nil
}

func tls(t *cluster.CheckTLS) []string {
	if t == nil {
		return nil
	}
	parts := []string{"by TLS"}
	if t.Name != "" {
		parts = append(parts, "as "+t.Name)
	}
	if t.Verify {
		parts = append(parts, "verified")
	}
	return parts
}

// Load is where a service's instances tell their own load, in words.
func Load(s *cluster.Service) string {
	switch l := s.Load; {
	case l == nil:
		return none
	case l.Agent != 0:
		return fmt.Sprintf("agent on port %d", l.Agent)
	case l.Port != "":
		return fmt.Sprintf("http %s on port %s", l.HTTP, l.Port)
	default:
		return "http " + l.HTTP
	}
}

// Latency are a service's limits, in words.
func Latency(s *cluster.Service) string {
	l := cluster.Latency{}
	if s.Latency != nil {
		l = *s.Latency
	}
	return fmt.Sprintf("soft %s, hard %s", cmp.Or(l.Soft, cluster.DefaultSoft), cmp.Or(l.Hard, cluster.DefaultHard))
}

// Blend is how much of a service's adaptive weights follows the load, in percent.
func Blend(s *cluster.Service) int {
	if s.Blend == nil {
		return cluster.DefaultBlend
	}
	return *s.Blend
}

func blend(s *cluster.Service) string { return strconv.Itoa(Blend(s)) }

// setting is one line of a plan about a service as a whole.
type setting struct {
	name   string
	words  func(*cluster.Service) string
	always bool // told of a new service also where it is the default
}

var settings = []setting{
	{"balance", balance, true},
	{"affinity", affinity, true},
	{"locality", locality, false},
	{"sources", sources, false},
	{"check", Check, false},
	{"load", Load, false},
	{"latency", Latency, false},
	{"blend", blend, false},
	{"run", Run, false},
	{"replicas", replicas, false},
	{"scale", Scale, false},
	{"warm", func(s *cluster.Service) string { return strconv.Itoa(s.Warm) }, false},
	{"restart", restart, false},
}
