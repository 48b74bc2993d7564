package loadmon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// day is a time of a service whose load has noise.
type day struct {
	*rand.Rand
	load    func(at time.Duration) float64 // new connections/s
	noise   float64                        // its standard deviation, as a part of it
	at      time.Duration
	started []time.Duration // of each instance
}

const (
	dayLength  = 2 * time.Hour
	spikeFrom  = time.Hour
	spikeTo    = spikeFrom + 5*time.Minute
	startTime  = 5 * time.Second
	dayAverage = 600.0 // new connections/s
	perBusy    = 100.0 // of them keep one instance busy
)

// swell ebbs and rises, with a spike of five minutes in which it triples.
func swell(at time.Duration) float64 {
	rate := dayAverage * (1 + 0.6*math.Sin(2*math.Pi*at.Seconds()/dayLength.Seconds()))
	if at >= spikeFrom && at < spikeTo {
		rate *= 3
	}
	return rate
}

// rate is what is asked for now.
func (d *day) rate() float64 { return max(d.load(d.at)*(1+d.noise*d.NormFloat64()), 0) }

// lived is what became of a day.
type lived struct {
	changes, turns int // of the number of instances, and of its direction
	most           int
	short          time.Duration // with too few for the work that there was
	spare          float64       // instances beyond the target, summed over intervals
}

// live carries out what is decided, interval by interval.
func (d *day) live(length time.Duration, s *scaled) (h lived) {
	direction := 0
	for d.at < length {
		before := s.desired
		ready, figures := d.next(s.desired)
		s.step(func(in *ScaleInput) { in.Ready, in.Figures = ready, figures }, func(int) Figures { return Figures{} })
		if now := s.desired - before; now != 0 {
			h.changes++
			if direction*now < 0 {
				h.turns++
			}
			direction = now
		}
		h.most = max(h.most, s.desired)
		if need := d.rate() / perBusy; float64(len(ready)) < need {
			h.short += Interval
		} else {
			h.spare += float64(len(ready)) - need/0.6
		}
	}
	return h
}

// next lets an interval pass with so many instances, of which those that have started share the load.
func (d *day) next(desired int) (ready []string, figures map[string]Figures) {
	d.at += Interval
	for len(d.started) < desired {
		d.started = append(d.started, d.at)
	}
	d.started = d.started[:desired]
	for i, since := range d.started {
		if d.at-since >= startTime {
			ready = append(ready, fmt.Sprintf("i%03d", i))
		}
	}
	figures = map[string]Figures{}
	rate := d.rate()
	for _, id := range ready {
		one := rate / float64(len(ready)) * (1 + d.noise/2*d.NormFloat64())
		figures[id] = Figures{Rate: one, Busy: min(max(one/perBusy, 0.02), 1), Active: one * 0.1, Utilization: math.NaN()}
		if d.Float64() < 0.02 { // a report is lost
			delete(figures, id)
		}
	}
	return ready, figures
}

// TestScaleThroughADay changes its mind seldom, and is never short for long.
func TestScaleThroughADay(t *testing.T) {
	t.Parallel()
	worst := 0
	for seed := range uint64(50) {
		d := &day{Rand: rand.New(rand.NewPCG(seed, 1)), load: swell, noise: 0.1}
		h := d.live(dayLength, &scaled{now: noon, desired: 10, policy: ScalePolicy{Min: 2, Max: 60, Targets: []Target{{ByBusy, 0.6}}}})
		worst = max(worst, h.turns)
		require.LessOrEqual(t, h.turns, 10, "seed %d", seed)
		require.LessOrEqual(t, h.short, time.Minute, "seed %d: too few for the work that there was", seed)
		require.Less(t, h.spare*Interval.Seconds()/dayLength.Seconds(), 6.0, "seed %d: instances to spare on the average", seed)
	}
	t.Logf("at most %d changes of direction in two hours, the worst of 50 days", worst)
}

// TestScaleDoesNotOscillate under loads that invite it: a step up and down again, and a sine as long as the window, which a
// rule that followed each moment would follow up and down. What is decided changes what each instance has to do, with the delay
// of a start; nothing swings on its own account.
func TestScaleDoesNotOscillate(t *testing.T) {
	t.Parallel()
	step := func(at time.Duration) float64 {
		if at >= 20*time.Minute && at < 40*time.Minute {
			return 1800
		}
		return 600
	}
	sine := func(at time.Duration) float64 { return 900 + 600*math.Sin(2*math.Pi*at.Seconds()/300) }
	for _, test := range []struct {
		name      string
		load      func(time.Duration) float64
		peak      float64 // of the load
		noise     float64
		overshoot float64 // of the instances that the peak needs
		turns     int
		changes   float64 // each minute
	}{
		{"step", step, 1800, 0, 0, 2, 0.2},
		{"sine", sine, 1500, 0, 0, 1, 0.2},
		{"step with noise", step, 1800, 0.1, 0.45, 4, 0.3}, // three standard deviations and a tenth
		{"sine with noise", sine, 1500, 0.1, 0.45, 4, 0.3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			overshoot, changes, turns := 0.0, 0.0, 0
			for seed := range uint64(10) {
				d := &day{Rand: rand.New(rand.NewPCG(seed, 2)), load: test.load, noise: test.noise}
				h := d.live(time.Hour, &scaled{now: noon, desired: 10, policy: ScalePolicy{Min: 2, Max: 60, Targets: []Target{{ByBusy, 0.6}}}})
				overshoot = max(overshoot, float64(h.most)/math.Ceil(test.peak/perBusy/0.6)-1)
				changes, turns = max(changes, float64(h.changes)/60), max(turns, h.turns)
			}
			t.Logf("overshoot %.0f %%, %.2f changes/min, %d changes of direction, the worst of 10 hours", 100*overshoot, changes, turns)
			require.LessOrEqual(t, overshoot, test.overshoot)
			require.LessOrEqual(t, changes, test.changes)
			require.LessOrEqual(t, turns, test.turns)
		})
	}
}
