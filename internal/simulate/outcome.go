package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Outcome is what one policy made of a scenario.
type Outcome struct {
	Name        string    `json:"name"`
	P50MS       float64   `json:"p50_ms"`
	P99MS       float64   `json:"p99_ms"`
	BusyMaxMean float64   `json:"busy_max_mean"`                // of the busiest instance, by the mean
	BusyLate    float64   `json:"busy_max_mean_late,omitempty"` // the same while there is a neighbour, from 30 s after it came
	Busy        []float64 `json:"busy"`
	Shares      []float64 `json:"shares"` // at the end
	Requests    int       `json:"requests"`
	Writes      int       `json:"writes"` // of weights, after the warm-up
	Turns       int       `json:"turns"`  // of the weight that changed its direction most often, after the warm-up

	Points []Point `json:"-"`
}

// Run lets a scenario happen under one policy.
func Run(s Scenario, policy cluster.Balance) Outcome {
	w := newWorld(s, policy)
	w.run()
	o := Outcome{Name: string(policy), Requests: len(w.answers), Shares: w.balancer.shares, Points: w.track}
	slices.Sort(w.answers)
	o.P50MS, o.P99MS = quantile(w.answers, 0.5), quantile(w.answers, 0.99)
	for i, busy := range w.busy(w.now) {
		o.Busy = append(o.Busy, (busy-w.pastWarm[i])/s.Length.Seconds())
	}
	o.BusyMaxMean = spread(o.Busy)
	if n := s.Neighbour; n.Instance != 0 {
		end := s.Length
		if n.For > 0 {
			end = min(end, n.At+n.For)
		}
		o.BusyLate = o.Spread(n.At+notice, end)
	}
	o.Writes, o.Turns = w.balancer.steadiness(w.begin)
	return o
}

// Compare runs all policies.
func Compare(s Scenario) []Outcome {
	out := make([]Outcome, 0, len(Policies))
	for _, policy := range Policies {
		out = append(out, Run(s, policy))
	}
	return out
}

// Spread is how busy the busiest instance was between two times after the warm-up, by the mean.
func (o Outcome) Spread(from, to time.Duration) float64 {
	var busy []float64
	for _, p := range o.Points {
		if p.time() <= from || p.time() > to {
			continue
		}
		if busy == nil {
			busy = make([]float64, len(p.Busy))
		}
		for i, b := range p.Busy {
			busy[i] += b
		}
	}
	return spread(busy)
}

// notice is how long a change may take to be answered.
const notice = 30 * time.Second

// Settled says when, from the start of the warm-up, the shares came within a part of the true ones to stay there.
func (o Outcome) Settled(s Scenario, within float64) time.Duration {
	sum := 0.0
	for _, speed := range s.Speeds {
		sum += speed
	}
	since := time.Duration(0)
	for k, p := range o.Points {
		for i, share := range p.Shares {
			if math.Abs(share*sum/s.Speeds[i]-1) > within {
				since = s.Warmup + s.Length
				if k+1 < len(o.Points) {
					since = s.Warmup + o.Points[k+1].time()
				}
			}
		}
	}
	return since
}

func spread(busy []float64) float64 {
	if len(busy) == 0 {
		return 0
	}
	sum := 0.0
	for _, b := range busy {
		sum += b
	}
	if sum == 0 {
		return 1
	}
	return slices.Max(busy) / (sum / float64(len(busy)))
}

// quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// steadiness counts the writes after a time, and how often the weight that turned most often changed its direction.
func (b *balancer) steadiness(after float64) (writes, turns int) {
	if len(b.writes) == 0 {
		return 0, 0
	}
	last := b.writes[0].shares
	directions, turned := make([]float64, len(last)), make([]int, len(last))
	for _, w := range b.writes[1:] {
		if w.at > after {
			writes++
			for i, share := range w.shares {
				if direction := share - last[i]; direction != 0 {
					if direction*directions[i] < 0 {
						turned[i]++
					}
					directions[i] = direction
				}
			}
		}
		last = w.shares
	}
	return writes, slices.Max(turned)
}
