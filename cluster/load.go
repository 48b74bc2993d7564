package cluster

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// LoadSource is where an instance tells its own load. Exactly one of HTTP and Agent is set.
type LoadSource struct {
	HTTP  string `json:"http,omitempty"`  // a path that answers {"utilization": 0.6}
	Port  string `json:"port,omitempty"`  // the name of the service's port that serves it; left out: its first TCP port
	Agent uint16 `json:"agent,omitempty"` // a TCP port beside the instance that answers as HAProxy's agent-check: 75%, drain, maint, ready, up, down
}

// Latency are the limits of a service's answers.
type Latency struct {
	Soft Duration `json:"soft,omitempty"` // an instance that is slower than this, and than its fellows, loses weight; default 100ms
	Hard Duration `json:"hard,omitempty"` // one that is slower than this three times in a row, twelve while it is busy, is ejected; default 1s
}

// The defaults of Latency and Blend.
const (
	DefaultSoft  = Duration(100 * time.Millisecond)
	DefaultHard  = Duration(time.Second)
	DefaultBlend = 100
)

// LoadPort is the port of the service that its load is asked at; false where it has none.
func (s *Service) LoadPort() (Port, bool) {
	for _, p := range s.Ports {
		if p.Protocol == TCP && (s.Load.Port == "" || p.Name == s.Load.Port) {
			return p, true
		}
	}
	return Port{}, false
}

func (s *Service) validateLoad(c *complaint) {
	if l := s.Load; l != nil {
		if (l.HTTP == "") == (l.Agent == 0) {
			c.add("load", "it needs exactly one of http and agent", "give the path that answers {\"utilization\": 0.6}, or the TCP port of an agent")
		}
		if l.HTTP != "" && (!strings.HasPrefix(l.HTTP, "/") || !printableText(l.HTTP) || strings.ContainsAny(l.HTTP, " #")) {
			c.add("load.http", fmt.Sprintf("%q is no path", clip(l.HTTP)), "begin it with /, and escape what is not plain ASCII")
		}
		_, found := s.LoadPort()
		switch {
		case l.Port != "" && (l.HTTP == "" || !found):
			c.add("load.port", fmt.Sprintf("the service has no TCP port named %q to ask", clip(l.Port)), "name one of its ports, or leave it out")
		case l.HTTP != "" && !found:
			c.add("load", "it is asked by TCP, and no port of the service takes that", "use agent")
		}
	}
	if b := s.Blend; b != nil && (*b < 0 || *b > 100) {
		c.add("blend", fmt.Sprintf("%d is outside 0..100", *b), "0 keeps the file's weights, 100 follows the load")
	}
	if b := s.Blend; b != nil && s.Balance != BalanceAdaptive {
		c.add("blend", "it mixes weights that follow the load with those of the file, and balance is not adaptive", "set balance: adaptive, or leave it out")
	}
	if l := s.Latency; l != nil {
		if l.Soft < 0 || l.Hard < 0 {
			c.add("latency", "a limit is negative", "write a duration such as 100ms; leave it out for the default")
		} else if soft, hard := cmp.Or(l.Soft, DefaultSoft), cmp.Or(l.Hard, DefaultHard); hard < soft {
			c.add("latency", fmt.Sprintf("the hard limit %s is below the soft limit %s", hard, soft), "raise the hard limit")
		}
	}
}
