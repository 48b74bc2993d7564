package cluster

import (
	"fmt"
	"time"
)

// clocksDiffer is by how much the clocks of two nodes may differ for what began on both at one moment to be seen as such.
const clocksDiffer = time.Second

// unwatched is between two looks at the kernel's signs of instances without a check.
const unwatched = 5 * time.Second

// atOnce is how far apart the first failures of instances are seen, at most, that begin to fail at one moment: each node checks
// at times of its own.
func (s *Service) atOnce() time.Duration {
	if s.Check == nil {
		return unwatched + clocksDiffer
	}
	c := s.Check.WithDefaults()
	return time.Duration(c.Interval) + time.Duration(c.Timeout) + clocksDiffer
}

// failing takes out the instances that fail, unless more than half of those not dead do. Verdicts of one moment arrive one
// after the other. So that the first ones are not taken out while the others are on their way, an instance is suspect from its
// first failed check on, and suspects whose first failure was when that of a failing instance was count with it.
func (r *Resolved) failing(in *Inputs) {
	total, bad := 0, 0
	var suspects []time.Time
	for s := range r.in() {
		total++
		switch h := in.Health[s.Instance.ID]; h.Verdict {
		case Failing:
			bad++
		case Suspect:
			suspects = append(suspects, h.began())
			s.Status, s.Reason, s.Since = IsSuspect, "used, but it may be failing"+because(h.Reason), h.Since
		}
	}
	most := 0 // that fail at once
	for s := range r.in() {
		h := in.Health[s.Instance.ID]
		if h.Verdict != Failing {
			continue
		}
		with := bad + near(suspects, h.began(), in.Service.atOnce())
		if 2*with <= total {
			s.out(IsFailing, orElse(h.Reason, "its monitor found it failing"), h.Since)
			continue
		}
		most = max(most, with)
		s.Status, s.Since = Panic, h.Since
		s.Reason = fmt.Sprintf("used although failing, since %d of %d fail%s", with, total, because(h.Reason))
	}
	if most > 0 {
		r.Problems = append(r.Problems, Problem{"service " + in.Service.Name, "instances",
			fmt.Sprintf("%d of %d instances that are alive fail their checks at once, so all are used", most, total),
			"look for what they share: the check itself, a database, the network"})
	}
}

// near counts the times that are at most so far from another.
func near(times []time.Time, from time.Time, most time.Duration) (n int) {
	for _, t := range times {
		if t.Sub(from).Abs() <= most {
			n++
		}
	}
	return n
}
