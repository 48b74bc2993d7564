package check

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Word is what an instance says of itself.
type Word struct {
	State  State  `json:"state"`
	Output string `json:"output,omitempty"`
}

// State is the sense of a Word.
type State string

// What instances say. Ok and fail are about how they are, leave and back about what they wish.
const (
	OK    State = "ok"    // it is well: ends a fail, and renews a ttl check
	Fail  State = "fail"  // it is failing, until it says ok
	Leave State = "leave" // no new connections, until it says back or is started anew
	Back  State = "back"
)

// ErrUnknown says that an instance is none of this node's.
var ErrUnknown = errors.New("it does not run on this node: \"weir get instances -o wide\" shows ids and nodes")

// Why what an instance says leads to a verdict.
const (
	saysFail  = "it says so itself"
	saysLeave = "it asks for no new connections itself"
	wantsNone = "it wishes 0 % of its weight itself"
	silent    = "it was silent for longer than %s"
)

// said is what an instance last said of itself.
type said struct {
	failing, leaving bool
	none             bool          // the last part of its weight that it wished was 0
	fail, leave      string        // what it said with it
	ok               time.Duration // when it last said how it is, or when that began to be waited for
}

// Tell takes up the word of an instance of this node. What it says counts at once; that it is better counts when it has held
// (see damper).
func (c *Checker) Tell(id ID, w Word) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subjects[id]
	if s == nil || !s.own {
		return fmt.Errorf("instance %q of service %q: %w", id.Instance, id.Service, ErrUnknown)
	}
	if err := s.hear(w, c.now()); err != nil {
		return err
	}
	c.tell(s)
	return nil
}

// Wish takes up the part of its weight that an instance of this node wishes. Nothing is no connections, as with Leave, until it
// wishes for more: no share of a service can say that.
func (c *Checker) Wish(id ID, part float64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subjects[id]
	if s == nil || !s.own {
		return fmt.Errorf("instance %q of service %q: %w", id.Instance, id.Service, ErrUnknown)
	}
	s.judged, s.said.none = true, part == 0
	c.tell(s)
	return nil
}

func (s *subject) hear(w Word, now time.Duration) error {
	s.judged = true
	switch w.State {
	case OK:
		s.said.failing, s.said.ok = false, now
		if s.check != nil && s.check.TTL != nil {
			s.inRow = 0
			s.rung.step(s.check, Outcome{Kind: Good}, now)
		}
	case Fail:
		if !s.said.failing {
			s.failed++
			s.inRow++
		}
		s.said.failing, s.said.ok, s.said.fail = true, now, line(w.Output)
	case Leave:
		s.said.leaving, s.said.leave = true, line(w.Output)
	case Back:
		s.said.leaving = false
	default:
		return fmt.Errorf("state %q is unknown: say ok, fail, leave or back", line(string(w.State)))
	}
	return nil
}

// listen judges the silence of an instance that is to report itself.
func (s *subject) listen(now time.Duration) {
	if s.check == nil || s.check.TTL == nil || !s.own {
		return
	}
	ttl := time.Duration(s.check.TTL.TTL)
	if now-s.said.ok <= ttl || now < s.rung.grace && !s.rung.started || s.rung.verdict == cluster.Failing {
		return
	}
	s.judged = true
	s.failed++
	s.inRow++
	s.rung.good, s.rung.verdict, s.rung.began = 0, cluster.Failing, now
	s.rung.why = Outcome{Kind: Bad, Reason: fmt.Sprintf(silent, ttl)}
}
