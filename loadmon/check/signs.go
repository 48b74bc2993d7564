package check

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Signs takes up what connection tracking shows of this node's instances: for each address the connections that were newly
// found to have no answer. It is called every few seconds, with 0 for those of which there is no news.
//
// Where there is a check, such a connection counts as a failure and has the check come at once, but the last failure that
// makes an instance failing is always one of a check. Without a check three looks in a row that find such connections make it
// failing, and half a minute without makes it well. Nothing here makes an instance dead.
func (c *Checker) Signs(unanswered map[netip.AddrPort]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, s := range c.subjects {
		if n, known := s.unanswered(unanswered); known && s.own {
			if s.sign(n, now) && !s.busy && s.runs() {
				c.due.set(s, now)
			}
			c.tell(s)
		}
	}
	c.hurry()
}

// unanswered adds up what is known of an instance's ports.
func (s *subject) unanswered(all map[netip.AddrPort]uint64) (n uint64, known bool) {
	for _, a := range s.listeners {
		if more, ok := all[a]; ok {
			n, known = n+more, true
		}
	}
	return n, known
}

// sign takes up so many failed connections, and says whether a check should come.
func (s *subject) sign(n uint64, now time.Duration) (ask bool) {
	s.failed += n
	s.inRow += uint32(min(n, 1<<20))
	switch {
	case s.check != nil && n > 0:
		s.rung.doubt(s.check, unanswered(n), now)
		return true
	case s.check != nil:
	case n > 0:
		s.rung.step(&unchecked, unanswered(n), now)
	default:
		s.inRow = 0
		s.rung.step(&unchecked, Outcome{Kind: Good}, now)
	}
	return false
}

func unanswered(n uint64) Outcome {
	return Outcome{Kind: Bad, Reason: fmt.Sprintf("%d new connections were not answered", n)}
}

// doubt counts a failure that alone does not decide.
func (r *rung) doubt(c *cluster.Check, o Outcome, now time.Duration) {
	if r.verdict == "" && (r.started || now >= r.grace) && r.bad+1 < c.Fall {
		r.good = 0
		r.count(o, now)
	}
}
