package loadmon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// day is two hours of a service: a load that swells and ebbs with noise, and a spike of five minutes in which it triples.
type day struct {
	*rand.Rand
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

// rate is what is asked for now.
func (d *day) rate() float64 {
	rate := dayAverage * (1 + 0.6*math.Sin(2*math.Pi*d.at.Seconds()/dayLength.Seconds()))
	if d.at >= spikeFrom && d.at < spikeTo {
		rate *= 3
	}
	return max(rate*(1+0.1*d.NormFloat64()), 0)
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
		one := rate / float64(len(ready)) * (1 + 0.05*d.NormFloat64())
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
	for seed := range uint64(50) {
		d := &day{Rand: rand.New(rand.NewPCG(seed, 1))}
		s := &scaled{now: noon, desired: 10, policy: ScalePolicy{Min: 2, Max: 60, Targets: []Target{{ByBusy, 0.6}}}}
		turns, direction, short, spare := 0, 0, time.Duration(0), 0.0
		for d.at < dayLength {
			before := s.desired
			ready, figures := d.next(s.desired)
			s.step(func(in *ScaleInput) { in.Ready, in.Figures = ready, figures }, func(int) Figures { return Figures{} })
			if now := s.desired - before; now != 0 && direction*now < 0 {
				turns++
				direction = now
			} else if now != 0 {
				direction = now
			}
			if need := d.rate() / perBusy; float64(len(ready)) < need {
				short += Interval
			} else {
				spare += float64(len(ready)) - need/0.6
			}
		}
		require.LessOrEqual(t, turns, 10, "seed %d", seed)
		require.LessOrEqual(t, short, time.Minute, "seed %d: too few for the work that there was", seed)
		require.Less(t, spare*Interval.Seconds()/dayLength.Seconds(), 6.0, "seed %d: instances to spare on the average", seed)
	}
}
