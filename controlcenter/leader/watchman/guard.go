package watchman

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// guard is how many nodes may be declared down now, and how many would have to be.
type guard struct {
	hosts   int      // nodes that host instances, down or not
	limit   int      // how many may be declared down within the window
	left    int      // of the limit
	missing []string // gone, however short, and not known to serve
	settled int      // of these, those that were looked at
	dead    []string // of these, those that nobody reached: the longest gone first
}

// blocked says that too many are gone at once: more likely the network or a mistake than that many ends of nodes.
func (g guard) blocked() bool { return len(g.missing) > g.limit }

// String is what an operator reads.
func (g guard) String() string {
	return fmt.Sprintf("%d of %d nodes that host instances are gone at once, and at most %d may be declared down within a minute", len(g.missing), g.hosts, g.limit)
}

func (s *State) guard(in Sight) (g guard) {
	for _, n := range in.Nodes {
		if n.Hosts {
			g.hosts++
		}
	}
	g.limit = max(1, g.hosts*30/100)
	s.declared = slices.DeleteFunc(s.declared, func(at time.Time) bool { return in.Now.Sub(at) >= window })
	g.left = max(0, g.limit-len(s.declared))
	for _, name := range slices.Sorted(maps.Keys(s.tracks)) {
		t := s.tracks[name]
		if !hosting(in.Nodes[name]) || t.seen == answers || t.seen == doubted || t.settling(in.Now) {
			continue
		}
		g.missing = append(g.missing, name)
		if t.seen != unseen {
			g.settled++
		}
		if t.seen == dead && s.gone(t, in.Now) && in.Now.Sub(t.looked) <= fresh {
			g.dead = append(g.dead, name)
		}
	}
	slices.SortStableFunc(g.dead, func(a, b string) int {
		return cmp.Or(s.tracks[a].since.Compare(s.tracks[b].since), cmp.Compare(a, b))
	})
	return g
}

// settling says that it was declared down a moment ago.
func (t track) settling(now time.Time) bool {
	return !t.declared.IsZero() && now.Sub(t.declared) < settle
}

// alarm lasts while too many are gone at once, from the moment that this is no guess any more.
func (s *State) alarm(in Sight, g guard) (a *Alarm, raised bool) {
	if !g.blocked() || g.settled <= g.limit && !s.alarmed || in.Paused {
		s.alarmed, s.blocked = false, time.Time{}
		return nil, false
	}
	if s.blocked.IsZero() {
		s.blocked = in.Now
	}
	if in.Now.Sub(s.blocked) < settle {
		return nil, false // a look that failed is made again before anybody is woken
	}
	raised = !s.alarmed && (s.raised.IsZero() || in.Now.Sub(s.raised) >= alarmAgain)
	if raised {
		s.raised = in.Now
	}
	s.alarmed = true
	return &Alarm{Nodes: g.missing, Reason: g.String() + ": so none is"}, raised
}
