package watchman

import (
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Report is what the watchman thinks at present, for people.
type Report struct {
	Watching bool                    `json:"watching"` // false while etcd does not answer
	Paused   bool                    `json:"paused,omitempty"`
	Alive    int                     `json:"alive"`
	Down     []string                `json:"down,omitempty"`
	Gone     map[string]cluster.Gone `json:"gone,omitempty"`
	Alarm    string                  `json:"alarm,omitempty"`
	Problems []cluster.Problem       `json:"problems,omitempty"`
}

// Report is of the last decision.
func (w *Watchman) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}

func (w *Watchman) tell(in Sight, o Orders) {
	r := Report{Watching: !w.state.watching.IsZero(), Paused: in.Paused, Gone: maps.Clone(o.Gone), Problems: o.Problems}
	for name, n := range in.Nodes {
		if in.Alive[name] {
			r.Alive++
		}
		if n.Down != nil {
			r.Down = append(r.Down, name)
		}
	}
	slices.Sort(r.Down)
	if o.Alarm != nil {
		r.Alarm = o.Alarm.Reason
	}
	w.metrics.told(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = r
}
