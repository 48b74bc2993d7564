package loadmon

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// tolerance is how far a service may be from its targets without anything to do.
	tolerance = 0.1
	// In one period their number at most doubles, or grows by stepUp where that is more.
	period = 15 * time.Second
	stepUp = 4
)

// Figures are what one instance did of late.
type Figures struct {
	Rate        float64 // new connections/s
	Active      float64 // open connections
	Busy        float64 // 0..1
	Utilization float64 // 0..1, as the application says itself; NaN: it does not
}

// Ask is somebody's word for more instances.
type Ask struct {
	By   string // who asks, for the reason: "instance 192.0.2.1:80"
	Want int    // how many there should be at least
	Why  string // as it says itself
}

// String says who asks for what, and why.
func (a Ask) String() string {
	text := fmt.Sprintf("%s asks for %d", a.By, a.Want)
	if a.Why != "" {
		text += ": " + a.Why
	}
	return text
}

// ScaleInput is what one decision about the number of instances is made of.
type ScaleInput struct {
	Now     time.Time
	Desired int                // how many there should be by the decision before
	Ready   []string           // the instances that take traffic
	Figures map[string]Figures // of those among them that have fresh ones
	Asks    []Ask
	Pinned  *int // an operator's word, which wins over everything else
	Wake    bool // somebody connects to a service that has no instance
	Policy  ScalePolicy
}

// ScaleDecision is how many instances there should be, and why.
type ScaleDecision struct {
	Want    int
	Wish    int    // what this moment alone would want
	By      string // the metric, or who asked, that decided
	Reason  string
	Again   time.Duration      // more will be permitted then, without any news; 0: nothing is held back
	Numbers map[string]float64 // by metric, what all ready instances come to together
}

// Scale decides how many instances a service should have:
//
//	wish = ceil(sum of the metric over the ready instances / its target), of several metrics and asks the largest
//	up   = the wish at once, but at most twice as many, or 4 more, as 15 s ago
//	down = the largest wish of the window
//
// Within a tenth of the target nothing is wished. A ready instance without fresh figures counts against the direction of
// the move: as idle where more would be wished, as the busiest where fewer would. Busy ends at 1 whatever is asked of an
// instance, so beyond 0.8 the number also follows from the new connections that an instance took per second of work
// before.
//
// The formula is that of the Horizontal Pod Autoscaler of Kubernetes; the limits are ours. Scale reads no clock.
func Scale(prev ScaleState, in ScaleInput) (ScaleState, ScaleDecision) {
	in.Policy = in.Policy.sound()
	in.Ready = slices.Compact(slices.Sorted(slices.Values(in.Ready)))
	next := prev.advance(in)
	next.learn(in)
	d := next.wish(in)
	next.wishes.add(d.Wish)
	d.Want = next.want(in, &d)
	if grown := d.Want - in.Desired; grown > 0 {
		next.grown = append(next.grown, growth{by: grown})
	}
	return next, d
}

// wish is what this moment wants, without regard to the past.
func (s ScaleState) wish(in ScaleInput) ScaleDecision {
	d := ScaleDecision{Wish: in.Desired, By: "", Numbers: map[string]float64{}}
	first := true
	for _, t := range in.Policy.Targets {
		o, ok := s.opinion(t, in)
		if !ok {
			continue
		}
		d.Numbers[string(t.Metric)] = o.sum
		if first || o.wish > d.Wish {
			d.Wish, d.By, d.Reason = o.wish, string(t.Metric), o.reason
		}
		first = false
	}
	if first {
		d.Reason = "no ready instance has fresh figures: their number stays"
		if len(in.Policy.Targets) == 0 {
			d.Reason = "the service has no target"
		}
	}
	for _, a := range in.Asks {
		if a.Want > d.Wish {
			d.Wish, d.By, d.Reason = a.Want, a.By, a.String()
		}
	}
	least := max(in.Policy.Min, 1)
	switch {
	case in.Wake && in.Desired == 0:
		d.Wish, d.By, d.Reason = least, "wake", "somebody connects"
	case s.idle >= in.Policy.Idle && in.Policy.Min == 0 && len(in.Asks) == 0 && !in.Wake, in.Desired == 0 && in.Policy.Min == 0 && len(in.Asks) == 0:
		d.Wish, d.By, d.Reason = 0, "idle", "nobody has connected for "+in.Policy.Idle.String()
		return d
	}
	if kept := min(max(d.Wish, least), in.Policy.Max); kept != d.Wish {
		d.Reason += fmt.Sprintf("; kept within %d..%d", least, in.Policy.Max)
		d.Wish = kept
	}
	return d
}

// opinion is what one metric wishes.
type opinion struct {
	wish   int
	sum    float64
	reason string
}

func (s ScaleState) opinion(t Target, in ScaleInput) (o opinion, ok bool) {
	known, most := 0, t.Value
	for _, id := range in.Ready {
		if v, there := in.value(t.Metric, id); there {
			o.sum += v
			most = max(most, v)
			known++
		}
	}
	if known == 0 {
		return o, false
	}
	missing := len(in.Ready) - known
	more, fewer := o.sum/t.Value, (o.sum+float64(missing)*most)/t.Value
	o.wish = in.Desired
	switch have := float64(in.Desired); {
	case more > have*(1+tolerance):
		o.wish = ceil(more)
	case fewer < have*(1-tolerance):
		o.wish = min(ceil(fewer), in.Desired)
	}
	o.reason = fmt.Sprintf("%s: %d instances come to %.4g, the target for each is %.4g", t.Metric, known, o.sum, t.Value)
	if missing > 0 {
		o.reason += fmt.Sprintf(", %d are not heard of", missing)
	}
	if t.Metric == ByBusy && o.sum/float64(known) > learnable && s.capacity > 0 {
		if wish := ceil(in.rate() / (s.capacity * t.Value)); wish > o.wish {
			o.wish = wish
			o.reason += fmt.Sprintf("; %.4g new connections/s, of which one takes %.4g", in.rate(), s.capacity*t.Value)
		}
	}
	return o, true
}

// ceil forgives what is only rounding.
func ceil(x float64) int { return int(math.Ceil(math.Min(x, math.MaxInt32) - 1e-9)) }

// value is a figure that can be true.
func (in ScaleInput) value(m Metric, id string) (float64, bool) {
	f, ok := in.Figures[id]
	if !ok {
		return 0, false
	}
	v := map[Metric]float64{ByBusy: f.Busy, ByConnections: f.Active, ByRate: f.Rate, ByUtilization: f.Utilization}[m]
	return v, v >= 0 && !math.IsInf(v, 1) // NaN is not
}

// rate is of all ready instances.
func (in ScaleInput) rate() (sum float64) {
	for _, id := range in.Ready {
		if v, ok := in.value(ByRate, id); ok {
			sum += v
		}
	}
	return sum
}

// want is how many there should be, in the light of what was wished and done before.
func (s ScaleState) want(in ScaleInput, d *ScaleDecision) int {
	highest, allowed := s.wishes.highest(), min(max(in.Desired, in.Policy.Min), in.Policy.Max)
	switch {
	case in.Pinned != nil:
		d.By, d.Reason = "operator", fmt.Sprintf("an operator wants %d", *in.Pinned)
		return max(*in.Pinned, 0)
	case allowed != in.Desired:
		d.By, d.Reason = "limits", fmt.Sprintf("there must be %d..%d", in.Policy.Min, in.Policy.Max)
		return allowed
	case d.Wish > in.Desired:
		most := s.most(in.Desired)
		if d.Wish > most {
			d.Reason += fmt.Sprintf("; at most %d within %s", most, period)
			d.Again = s.again()
		}
		return min(d.Wish, most)
	case d.Wish < in.Desired && d.By == "idle":
		return 0
	case highest < in.Desired && s.seen >= in.Policy.Window:
		d.Reason += fmt.Sprintf("; no more than %d were wished for %s", highest, in.Policy.Window)
		return highest
	case d.Wish < in.Desired:
		d.Reason += fmt.Sprintf("; up to %d were wished within %s, so they stay", max(highest, in.Desired), in.Policy.Window)
	}
	return in.Desired
}
