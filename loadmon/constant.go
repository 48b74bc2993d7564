package loadmon

import (
	"fmt"
	"math"

	"github.com/weir-lb/weir/cluster"
)

// constant notices an application that says the same utilization, to the digit, whatever it has to do. To the law every share
// that such an instance has looks like what it can take, so that nothing would pull a wrong one back.
type constant struct {
	value     float64
	reports   int     // in a row that said so
	low, high float64 // new connections a second meanwhile
}

const (
	constantFor = 12   // reports, a minute of them
	constantBy  = 4.0  // connections a second by which the load must have varied: less may be chance
	rounding    = 0.05 // an application may tell tenths only
)

// heard takes up one more report.
func (c constant) heard(said *float64, w window) constant {
	if said == nil || w.seconds <= 0 {
		return constant{}
	}
	rate := w.opened / w.seconds
	if c.reports == 0 || *said != c.value {
		return constant{value: *said, reports: 1, low: rate, high: rate}
	}
	c.reports, c.low, c.high = min(c.reports+1, constantFor), min(c.low, rate), max(c.high, rate)
	return c
}

// stuck says whether the load varied more than rounding explains. A value of 1 may be true for long: it has too much to do.
// What rounds to 0 says nothing.
func (c constant) stuck() bool {
	if c.reports < constantFor || c.value <= rounding || c.value > saturated {
		return false
	}
	explained := 1.5 * (c.value + rounding) / (c.value - rounding)
	return c.high-c.low >= constantBy && c.high >= math.Max(2, explained)*c.low
}

// distrust says which instances say the same whatever they do. Their figures are not used until they say something else, and
// their shares are those of the file.
func (s State) distrust(in Input, complaint *complaints) {
	if !in.Policy.Tells {
		return
	}
	var stuck []Candidate
	weights, files := 0.0, 0.0 // of the others
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		if t.heard {
			t.constant = t.constant.heard(t.last.Utilization, t.latest)
		}
		if s.tracks[c.ID] = t; t.constant.stuck() {
			stuck = append(stuck, c)
			complaint.problems = append(complaint.problems, t.constant.problem(complaint.object, c.ID))
			continue
		}
		weights, files = weights+t.weight, files+float64(max(c.Weight, 1))
	}
	for _, c := range stuck {
		t := s.tracks[c.ID]
		t.estimate, t.pool, t.weight = estimate{}, pool{}, float64(max(c.Weight, 1))
		if files > 0 {
			t.weight *= weights / files
		}
		s.tracks[c.ID] = t
	}
	if len(stuck) > 0 {
		s.scale(in.Instances)
	}
}

func (c constant) problem(object, id string) cluster.Problem {
	return cluster.Problem{
		Object: object, Field: "instance " + id,
		What: fmt.Sprintf("it says a utilization of %g all the time, while its new connections went from %.1f to %.1f a second: that is not used, and its share is the file's", c.value, c.low, c.high),
		Fix:  "have it say what part of what it can do is in use at the moment, or leave load: out",
	}
}
