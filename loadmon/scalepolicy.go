package loadmon

import (
	"math"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Metric is what the number of a service's instances may follow.
type Metric string

// The metrics, each per instance.
const (
	ByBusy        Metric = "busy"        // 0..1, of its processors
	ByConnections Metric = "connections" // open ones
	ByRate        Metric = "rate"        // new connections/s
	ByUtilization Metric = "utilization" // 0..1, as the application says itself
)

// Target is what every instance should come to.
type Target struct {
	Metric Metric
	Value  float64
}

// ScalePolicy is what an operator sets for one service.
type ScalePolicy struct {
	Min, Max int           // how many instances at least and at most; a Min of 0 permits none at all
	Targets  []Target      // the one that wants most wins; none: only who asks by word is heard
	Window   time.Duration // fewer instances only when none of its moments wanted more; 5 min by default
	Idle     time.Duration // with a Min of 0: without a connection for so long, none is kept; 10 min by default
}

const longestIdle = 24 * time.Hour // that is told apart

// ScalePolicyOf is what a service's file says, with what it leaves out; the file was judged when it was published.
func ScalePolicyOf(s *cluster.Scale) ScalePolicy {
	p := ScalePolicy{Min: s.Min, Max: s.Max, Window: time.Duration(s.Window), Idle: time.Duration(s.Idle)}
	for _, m := range s.Metrics {
		p.Targets = append(p.Targets, Target{Metric(m.Metric), m.Target})
	}
	return p.sound()
}

// sound is the policy with what cannot be replaced by the nearest that can.
func (p ScalePolicy) sound() ScalePolicy {
	p.Min = min(max(p.Min, 0), cluster.MaxInstances)
	p.Max = min(max(p.Max, p.Min, 1), cluster.MaxInstances)
	p.Targets = slices.DeleteFunc(slices.Clone(p.Targets), func(t Target) bool { return !(t.Value > 0) || math.IsInf(t.Value, 1) })
	if p.Window <= 0 {
		p.Window = time.Duration(cluster.DefaultWindow)
	}
	if p.Idle <= 0 {
		p.Idle = time.Duration(cluster.DefaultIdle)
	}
	return p
}
