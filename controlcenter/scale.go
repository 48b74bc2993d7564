package controlcenter

import (
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// ScaleWord is what an operator says of the number of a service's instances.
type ScaleWord struct {
	Service  string
	Replicas int
	Auto     bool // take a number back: the load, or the file, decides again
	Reason   string
	Force    bool
}

// ScalePlan is what such a word would change. It is printable, and nothing has been written yet.
type ScalePlan struct {
	Service string         `json:"service"`
	From    string         `json:"from"`
	To      string         `json:"to"`
	Warning string         `json:"warning,omitempty"`
	Change  cluster.Change `json:"-"` // nil: it already is so
}

// String is one line, and one for the warning.
func (p ScalePlan) String() string {
	if p.Change == nil {
		return fmt.Sprintf("service %s: %s already", p.Service, p.To)
	}
	s := fmt.Sprintf("service %s: %s -> %s", p.Service, p.From, p.To)
	if p.Warning != "" {
		s += "\n  warning: " + p.Warning
	}
	return s
}

// PlanScale says what an operator's word would change. A service that is not launched is refused; so is, unless forced, a
// number outside of what its file permits, and one that would stop more than half of all instances.
func PlanScale(s *cluster.Snapshot, ops *cluster.Operations, word ScaleWord, now time.Time) (ScalePlan, error) {
	p := ScalePlan{Service: word.Service}
	in, err := find(s, word.Service)
	if err != nil {
		return p, err
	}
	if !in.Service.Launched() && !in.StandsBy() {
		return p, fmt.Errorf("service %s is not launched by Weir, and none of its instances stands by: give its file a run, or instances with standby: true", word.Service)
	}
	before, there := ops.Scaled[word.Service]
	p.From = says(in.Service, before, there)
	if word.Auto {
		if p.To = "as the file says"; in.Service.Scale != nil {
			p.To = "as the load says"
		}
		if there && before.Pinned {
			p.Change = cluster.SetScaled{Service: word.Service, Scaled: &cluster.Scaled{Replicas: before.Replicas, By: "operator", Reason: "the number is free again", Since: now, Heard: before.Heard}}
		}
		return p, nil
	}
	if word.Replicas < 0 || word.Replicas > cluster.MaxInstances {
		return p, fmt.Errorf("%d replicas are outside 0..%d", word.Replicas, cluster.MaxInstances)
	}
	after := cluster.Scaled{Replicas: word.Replicas, By: "operator", Reason: word.Reason, Since: now, Pinned: true, Heard: before.Heard}
	p.To = says(in.Service, after, true)
	if there && before.Pinned && before.Replicas == word.Replicas && (word.Reason == "" || word.Reason == before.Reason) {
		p.To = p.From
		return p, nil
	}
	if c := in.Service.Scale; c != nil && !word.Force && (word.Replicas < c.Min || word.Replicas > c.Max) {
		return p, fmt.Errorf("%w: %d is outside of the %d..%d that the service's file permits: change the file, or use --force", cluster.ErrUnsafe, word.Replicas, c.Min, c.Max)
	}
	if all, always := in.Reserves(); !in.Service.Launched() && (word.Replicas < always || word.Replicas > all) {
		return p, fmt.Errorf("service %s lists %d instances, of which %d do not stand by: give %d..%d", word.Service, all, always, always, all)
	}
	if err := stockOf(s, ops).halved(map[string]int{word.Service: word.Replicas}); err != nil && in.Service.Launched() && !word.Force {
		return p, err
	}
	if word.Replicas == 0 && !in.Service.Sleeps() {
		p.Warning = "connections will be refused until it is scaled up: they wake only a service whose file permits 0 (scale: {min: 0})"
	}
	p.Change = cluster.SetScaled{Service: word.Service, Scaled: &after}
	return p, nil
}

// says is how many there are to be, and by whose word.
func says(s *cluster.Service, scaled cluster.Scaled, there bool) string {
	switch {
	case there && scaled.Pinned && scaled.Reason != "":
		return fmt.Sprintf("%d by an operator (%s)", scaled.Replicas, scaled.Reason)
	case there && scaled.Pinned:
		return fmt.Sprintf("%d by an operator", scaled.Replicas)
	case !there || s.Scale == nil: // what was said before and taken back counts no more
		return "as the file says"
	case scaled.By == "" || scaled.By == "operator": // the load would have a word, and had none yet
		return fmt.Sprint(scaled.Replicas)
	}
	return fmt.Sprintf("%d by %s", scaled.Replicas, scaled.By)
}
