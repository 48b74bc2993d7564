package loadmon

import (
	"fmt"
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

const (
	defaultWindow = 5 * time.Minute
	defaultIdle   = 10 * time.Minute
	longestWindow = 24 * time.Hour
)

// Validate reports every mistake.
func (p ScalePolicy) Validate(service string) []cluster.Problem {
	c := complaints{object: "service " + service}
	if p.Min < 0 || p.Max > cluster.MaxInstances {
		c.add("scale", fmt.Sprintf("%d..%d is outside 0..%d", p.Min, p.Max, cluster.MaxInstances), "split the service if it needs more")
	}
	if p.Max < max(p.Min, 1) {
		c.add("scale.max", fmt.Sprintf("%d is below the %d that there must be at least", p.Max, max(p.Min, 1)), "raise max, or lower min")
	}
	seen := map[Metric]bool{}
	for i, t := range p.Targets {
		field := fmt.Sprintf("scale.metrics[%d]", i)
		switch {
		case !slices.Contains([]Metric{ByBusy, ByConnections, ByRate, ByUtilization}, t.Metric):
			c.add(field, fmt.Sprintf("metric %q is unknown", t.Metric), "use busy, connections, rate or utilization")
		case seen[t.Metric]:
			c.add(field, fmt.Sprintf("metric %s is given twice", t.Metric), "remove one")
		case !(t.Value > 0) || math.IsInf(t.Value, 1):
			c.add(field, fmt.Sprintf("a target of %g cannot be met by any number of instances", t.Value), "give a number above 0")
		case t.fraction() && t.Value > 1:
			c.add(field, fmt.Sprintf("a target of %g is never reached: %s is 1 at most", t.Value, t.Metric), "give a part of 1, such as 0.6")
		}
		seen[t.Metric] = true
	}
	for name, d := range map[string]time.Duration{"window": p.Window, "idle": p.Idle} {
		if d < 0 || d > longestWindow {
			c.add("scale."+name, fmt.Sprintf("%s is outside 0s..%s", d, longestWindow), "leave it out for the default")
		}
	}
	return c.list()
}

func (t Target) fraction() bool { return t.Metric == ByBusy || t.Metric == ByUtilization }

// sound is the policy with what cannot be replaced by the nearest that can. The operator was told by Validate.
func (p ScalePolicy) sound() ScalePolicy {
	p.Min = min(max(p.Min, 0), cluster.MaxInstances)
	p.Max = min(max(p.Max, p.Min, 1), cluster.MaxInstances)
	p.Targets = slices.DeleteFunc(slices.Clone(p.Targets), func(t Target) bool { return !(t.Value > 0) || math.IsInf(t.Value, 1) })
	if p.Window <= 0 {
		p.Window = defaultWindow
	}
	if p.Idle <= 0 {
		p.Idle = defaultIdle
	}
	return p
}
