package loadmon

import (
	"math"
	"slices"
)

// estimate is what an instance can take, as a logarithm, in units that all instances of the service share. It is a mean
// that gets longer while nothing changes, and starts anew when a change is beyond chance (CUSUM).
type estimate struct {
	samples  int
	capacity float64
	common   float64 // the last sample less the capacity: what is left when nothing happens to this instance alone
	previous float64 // the last sample, in common units
	variance float64 // of one sample
	up, down float64 // how much speaks for a change
}

// Of the estimate.
const (
	shortest  = 12       // samples
	longest   = 120      // samples
	wanted    = 0.005    // standard error at which a longer mean gains nothing
	finest    = 0.01     // standard deviation of one sample that is believed at the least
	outlier   = 4.0      // standard deviations beyond which one sample says no more
	certain   = 8.0      // standard deviations
	slack     = 1.0      // standard deviations that speak for no change
	alarm     = 6.0      // sum that is taken for a change where there is a queue: two outliers, or many smaller deviations on one side
	unhurried = 9.0      // the same elsewhere: three outliers
	noisy     = 1.0 / 32 // gain of the variance
	varianceX = finest * finest
)

// learn takes a sample, x in common units.
func (e *estimate) learn(x float64, s sample) {
	if e.samples == 0 {
		*e = estimate{samples: 1, capacity: x, previous: x, variance: max(s.variance, varianceX), common: e.common}
		return
	}
	sigma, off := math.Sqrt(e.variance), x-e.capacity
	d := min(max(off/sigma, -outlier), outlier) // one wrong sample must not count for many
	e.up, e.down = max(0, e.up+d-slack), max(0, e.down-d-slack)
	// Differences of neighbours: one jump of the capacity is in one of them only.
	jump := min((x-e.previous)*(x-e.previous)/2, outlier*outlier*e.variance)
	e.variance = max(e.variance+(jump-e.variance)*noisy, varianceX)
	e.previous = x
	// Where there is a queue two outliers make an alarm, and one that is beyond doubt: each report more that is waited for
	// makes the queue longer. Nothing else is urgent, and an alarm that is wrong costs all that was known.
	if e.up >= unhurried || e.down >= unhurried || s.full && (e.down >= alarm || off < -certain*sigma) {
		e.capacity, e.samples, e.up, e.down = x, 1, 0, 0
		return
	}
	memory := min(max(int(e.variance/(wanted*wanted)), shortest), longest)
	e.samples = min(e.samples+1, memory)
	e.capacity += d * sigma / float64(e.samples)
}

// deviation is the standard error of the capacity.
func (e *estimate) deviation() float64 { return math.Sqrt(e.variance / float64(e.samples)) }

// learn gives each instance with a new sample its estimate. What moves most instances alike, as when the requests become
// heavier, is no difference between them: it is taken out as the median.
func (s State) learn(in Input) State {
	if lasting := s.lives(in); lasting != s.lasting {
		s.lasting = lasting // the units change
		for id, t := range s.tracks {
			t.pool, t.common = pool{}, math.NaN()
			s.tracks[id] = t
		}
	}
	samples := map[string]sample{}
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		if !t.heard || !t.tells(in.Policy) || t.age < blackout || t.ejected() {
			continue
		}
		t.pool.add(t.latest)
		if found, ok := t.pool.sample(s.lasting, t.samples == 0); ok {
			samples[c.ID] = found
			if t.common = math.NaN(); t.samples > 0 && !found.atMost {
				t.common = found.x - t.capacity
			}
		}
		s.tracks[c.ID] = t
	}
	common := s.common(in)
	for id, found := range samples {
		t := s.tracks[id]
		if x := found.x - common; !found.atMost || t.samples == 0 || x < t.capacity-2*math.Sqrt(t.variance) {
			t.learn(x, found)
		}
		if math.IsNaN(t.common) && !found.atMost {
			t.common = common
		}
		s.tracks[id] = t
	}
	return s
}

// common is the median of what the instances' samples are off their estimates.
func (s State) common(in Input) float64 {
	var off []float64
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; t.samples > 0 && !math.IsNaN(t.common) {
			off = append(off, t.common)
		}
	}
	if len(off) == 0 {
		return 0
	}
	slices.Sort(off)
	return (off[(len(off)-1)/2] + off[len(off)/2]) / 2
}

// certainty is how many standard errors away from chance a move must be. While little is known the share is far from right
// rather than near, so that following chance costs less than waiting.
func (e *estimate) certainty() float64 {
	if e.samples < shortest {
		return hunch
	}
	return certainty
}
