package simulate

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Scenario is what happens to a service.
type Scenario struct {
	Speeds    []float64     // of each instance; 1 does Work in its time
	Load      float64       // requests, as a part of what all instances can take together
	Work      time.Duration // mean work of one request, at speed 1; exponentially distributed
	Length    time.Duration // measured time, after the warm-up
	Warmup    time.Duration
	KeepAlive time.Duration // mean life of a connection that asks once a second; 0: one request each
	Neighbour Neighbour
	Lost      float64 // part of the reports that do not arrive
	Seed      uint64
}

// Neighbour is a program beside an instance that takes away its processor.
type Neighbour struct {
	Instance int           // from 1; 0: there is none
	At       time.Duration // after the warm-up
	For      time.Duration // 0: until the end
	Leaves   float64       // part of its speed that the instance keeps
}

// Default is three instances of speeds 1, 0.7 and 0.5 under 60 % load, for ten minutes.
func Default() Scenario {
	return Scenario{
		Speeds: []float64{1, 0.7, 0.5}, Load: 0.6, Work: 5 * time.Millisecond,
		Length: 10 * time.Minute, Warmup: time.Minute, Seed: 1,
	}
}

// Limits of a scenario, so that a slip of the keyboard does not fill the memory.
const (
	maxInstances = 250
	maxRequests  = 50e6
)

// Validate reports every mistake.
func (s Scenario) Validate() error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(len(s.Speeds) > 0 && len(s.Speeds) <= maxInstances, "%d speeds: give 1 to %d", len(s.Speeds), maxInstances)
	for _, speed := range s.Speeds {
		check(speed >= 0.01 && speed <= 100, "speed %g is outside 0.01..100", speed)
	}
	check(s.Load > 0 && s.Load <= 2, "load %g is outside 0..2: 0.6 means 60 %%", s.Load)
	check(s.Work > 0 && s.Length > 0 && s.Warmup >= 0 && s.KeepAlive >= 0, "--work and --for are more than 0, --warmup and --keep-alive not less")
	check(s.Lost >= 0 && s.Lost <= 1, "lost %g is outside 0..1", s.Lost)
	if n := s.Neighbour; n.Instance != 0 {
		check(n.Instance > 0 && n.Instance <= len(s.Speeds), "there is no instance %d for the neighbour", n.Instance)
		check(n.Leaves >= 0.01 && n.Leaves <= 1, "a neighbour that leaves %g is outside 0.01..1", n.Leaves)
		check(n.At >= 0 && n.For >= 0, "the neighbour's times are not negative")
		check(n.At < s.Length, "the neighbour comes after %s, when the %s that are measured are over: give --neighbour-at", n.At, s.Length)
	}
	if len(wrong) == 0 {
		requests := s.rate() * (s.Warmup + s.Length).Seconds()
		check(requests <= maxRequests, "%.2g requests are more than %.2g: shorten it, or make the work of a request larger", requests, maxRequests)
	}
	return errors.Join(wrong...)
}

// String is the scenario in a line.
func (s Scenario) String() string {
	out := fmt.Sprintf("speeds %v, load %g %%, work %s at speed 1, %s after a warm-up of %s, seed %d", s.Speeds, 100*s.Load, s.Work, s.Length, s.Warmup, s.Seed)
	if s.KeepAlive > 0 {
		out += fmt.Sprintf(", connections of %s", s.KeepAlive)
	}
	if n := s.Neighbour; n.Instance != 0 {
		out += fmt.Sprintf(", after %s a neighbour leaves instance %d %g %% of its speed", n.At, n.Instance, 100*n.Leaves)
		if n.For > 0 {
			out += fmt.Sprintf(" for %s", n.For)
		}
	}
	if s.Lost > 0 {
		out += fmt.Sprintf(", %g %% of the reports are lost", 100*s.Lost)
	}
	return out
}

// rate is the requests a second.
func (s Scenario) rate() float64 {
	sum := 0.0
	for _, speed := range s.Speeds {
		sum += speed
	}
	return s.Load * sum / s.Work.Seconds()
}

// hampered says from when to when the neighbour takes what part of an instance's speed, in seconds from the start.
func (s Scenario) hampered(instance int) (from, to, leaves float64) {
	n := s.Neighbour
	if n.Instance != instance+1 {
		return math.Inf(1), math.Inf(1), 1
	}
	from, to = (s.Warmup + n.At).Seconds(), math.Inf(1)
	if n.For > 0 {
		to = from + n.For.Seconds()
	}
	return from, to, n.Leaves
}
