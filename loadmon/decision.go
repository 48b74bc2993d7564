package loadmon

import (
	"maps"
	"math"

	"github.com/weir-lb/weir/cluster"
)

// Decision is what came out, with what went in: an event.
type Decision struct {
	Shares   map[string]int // of the instances that are there; their sum is Whole
	Ejected  map[string]cluster.Ejection
	Write    bool   // agents should be told; otherwise nothing has changed that is worth it
	Reason   string // why weights moved, or why not
	Changes  []Change
	Problems []cluster.Problem

	write map[string]int
}

// Change is one instance's part of a Decision that is worth a write.
type Change struct {
	Instance  string  `json:"instance"`
	Measured  bool    `json:"measured"` // its node told of it of late: of others rate, active, busy, failed and latency are not known
	From      int     `json:"from"`     // share before, of Whole; 0: it is new
	To        int     `json:"to"`
	Rate      float64 `json:"rate"` // new connections/s over the last report
	Active    float64 `json:"active"`
	Busy      float64 `json:"busy"`
	Failed    float64 `json:"failed,omitempty"`
	LatencyMS float64 `json:"latency_ms,omitempty"`
	Capacity  float64 `json:"capacity,omitempty"` // relative to the other instances; 0: not known
	Error     float64 `json:"error,omitempty"`    // relative standard error of the capacity
	Wish      float64 `json:"wish,omitempty"`     // the part of its weight that it wants; 0: it wishes nothing
}

// Weights is what agents are told.
func (d Decision) Weights() *cluster.Weights {
	return &cluster.Weights{Share: maps.Clone(d.write), Ejected: maps.Clone(d.Ejected)}
}

// changes are the numbers of this decision, in the order of the ids.
func (s State) changes(prev State, shares map[string]int, in Input) []Change {
	out := make([]Change, 0, len(in.Instances))
	for _, i := range in.Instances {
		t := s.tracks[i.ID]
		c := Change{Instance: i.ID, From: prev.written[i.ID], To: shares[i.ID]}
		if w := t.latest; w.seconds > 0 && t.fresh() {
			c.Measured = true
			c.Rate, c.Active, c.Busy, c.Failed, c.LatencyMS = w.opened/w.seconds, w.active, w.busy, w.failed, t.latency
		}
		if in.Policy.Wishes && t.wish.known {
			c.Wish = t.wish.part
		}
		if t.samples > 0 {
			c.Capacity, c.Error = math.Exp(t.capacity), t.deviation()
		}
		out = append(out, c)
	}
	return out
}
