package check

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Signs takes up what connection tracking shows of this node's instances: for each address the connections that were newly
// found to have no answer, 0 where all answered, and those that were refused. It is called every few seconds.
//
// Where there is a check, such a connection counts as a failure and has the check come at once, but the last failure that
// makes an instance failing is always one of a check. Without a check three looks in a row that find such connections make it
// failing, and half a minute without makes it well. Nothing here makes an instance dead.
func (c *Checker) Signs(unanswered, refused map[netip.AddrPort]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, s := range c.subjects {
		if n, known := s.ofPorts(unanswered); known && s.own {
			no, _ := s.ofPorts(refused)
			if s.sign(n, no, now) && !s.busy && s.runs() {
				c.due.set(s, now)
			}
			c.tell(s)
		}
	}
	c.hurry()
}

// ofPorts adds up what is known of an instance's ports.
func (s *subject) ofPorts(all map[netip.AddrPort]uint64) (n uint64, known bool) {
	for _, a := range s.listeners {
		if more, ok := all[a]; ok {
			n, known = n+more, true
		}
	}
	return n, known
}

// sign takes up so many connections that failed, and says whether a check should come. Of an instance that is known to be dead
// refusals are no news: those of its own checks are among them.
func (s *subject) sign(unanswered, refused uint64, now time.Duration) (ask bool) {
	if seen, _ := s.seen(); seen == cluster.Dead {
		refused = 0
	}
	n := unanswered + refused
	s.failed += n
	s.inRow += uint32(min(n, 1<<20))
	switch {
	case s.check != nil && n > 0:
		s.rung.doubt(s.check, failing(unanswered, refused), now)
		return true
	case s.check != nil:
	case n > 0:
		s.rung.step(&unchecked, failing(unanswered, refused), now)
	default:
		s.inRow = 0
		s.rung.step(&unchecked, Outcome{Kind: Good}, now)
	}
	return false
}

// failing says what happened to new connections.
func failing(unanswered, refused uint64) Outcome {
	o := Outcome{Kind: Bad, Reason: fmt.Sprintf("%d new connections were refused, %d not answered", refused, unanswered)}
	switch {
	case refused == 0:
		o.Reason = fmt.Sprintf("%d new connections were not answered", unanswered)
	case unanswered == 0:
		o.Reason = fmt.Sprintf("%d new connections were refused", refused)
	}
	return o
}

// doubt counts a failure that alone does not decide.
func (r *rung) doubt(c *cluster.Check, o Outcome, now time.Duration) {
	if r.verdict == "" && (r.started || now >= r.grace) && r.bad+1 < c.Fall {
		r.good = 0
		r.count(o, now)
	}
}
