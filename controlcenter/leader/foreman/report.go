package foreman

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/placement"
)

// Report is what the foreman last found.
type Report struct {
	Revision int64             `json:"revision"`
	Paused   bool              `json:"paused,omitempty"` // nothing is decided; what is said of services is from before
	Services []ServiceReport   `json:"services"`
	Decided  []string          `json:"decided"` // in the last round
	Pending  []Action          `json:"pending"` // what was decided and is not done
	Problems []cluster.Problem `json:"problems"`
}

// Action is one instance that is not yet as it is wanted.
type Action struct {
	Instance string         `json:"instance"`
	Service  string         `json:"service"`
	Node     string         `json:"node"`
	Wanted   cluster.Wanted `json:"wanted"`
	Phase    cluster.Phase  `json:"phase,omitempty"` // how far it is; "": its launcher has not said anything
	Reason   string         `json:"reason,omitempty"`
	Since    time.Time      `json:"since,omitzero"` // it is wanted
}

// ServiceReport compares what a service should have with what there is.
type ServiceReport struct {
	Service string `json:"service"`
	Want    int    `json:"want"`
	By      string `json:"by,omitempty"` // who or what says so
	Reason  string `json:"reason,omitempty"`
	Serving int    `json:"serving"`
	Differs int    `json:"differs"` // serving - want
	Standby int    `json:"standby"`
	Waiting int    `json:"waiting"` // assigned, and not ready
	Leaving int    `json:"leaving"`
}

func (f *Foreman) tell(s *cluster.Snapshot, ops *cluster.Operations, want map[string]wish, actions []placement.Action, problems []cluster.Problem) {
	r := Report{Revision: ops.Revision, Services: []ServiceReport{}, Decided: []string{}, Pending: pending(ops), Problems: append([]cluster.Problem{}, problems...)}
	r.Problems = append(r.Problems, ops.Problems...)
	for _, a := range actions {
		if a.Event.What != "" {
			r.Decided = append(r.Decided, a.Event.What+" "+a.Event.Service+": "+a.Event.Reason)
		}
	}
	by := map[string]*ServiceReport{}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		r.Services = append(r.Services, ServiceReport{Service: name, Want: want[name].count, By: want[name].by, Reason: want[name].reason})
	}
	for i := range r.Services {
		by[r.Services[i].Service] = &r.Services[i]
	}
	for node, assigned := range ops.Assigned {
		for id, a := range assigned {
			if one := by[a.Service]; one != nil {
				one.count(a.Wanted, ops.Launched[node][id].Phase)
			}
		}
	}
	for _, one := range by {
		if in, ok := s.Services.Get(one.Service); ok && !in.Service.Launched() {
			one.listed(in)
		}
	}
	for i := range r.Services {
		r.Services[i].Differs = r.Services[i].Serving - r.Services[i].Want
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = r
}

// pause says that nothing is decided, and what is still under way.
func (f *Foreman) pause(ops *cluster.Operations) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.report
	r.Revision, r.Paused, r.Decided, r.Pending = ops.Revision, true, []string{}, pending(ops)
	r.Services, r.Problems = append([]ServiceReport{}, r.Services...), append([]cluster.Problem{}, r.Problems...)
}

// pending are the instances that are not yet as they are wanted, by service, node and name.
func pending(ops *cluster.Operations) []Action {
	out := []Action{}
	for node, assigned := range ops.Assigned {
		for id, a := range assigned {
			phase := ops.Launched[node][id].Phase
			done := phase == cluster.PhaseReady && a.Wanted.Kept()
			if !done && phase != cluster.PhaseRefused {
				out = append(out, Action{id, a.Service, node, a.Wanted, phase, a.Reason, a.Since})
			}
		}
	}
	slices.SortFunc(out, func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

func (r *ServiceReport) count(w cluster.Wanted, phase cluster.Phase) {
	switch {
	case phase == cluster.PhaseRefused:
	case w == cluster.WantDrained || w == cluster.WantStopped:
		r.Leaving++
	case phase != cluster.PhaseReady:
		r.Waiting++
	case w == cluster.WantStandby:
		r.Standby++
	default:
		r.Serving++
	}
}

// listed counts instances that somebody else runs.
func (r *ServiceReport) listed(in *cluster.Inputs) {
	for _, s := range cluster.Resolve(in).Instances {
		switch {
		case s.Takes():
			r.Serving++
		case s.Status == cluster.Standby:
			r.Standby++
		default:
			r.Waiting++
		}
	}
}

// Report is what was found last.
func (f *Foreman) Report() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

// ErrNothingYet says that the foreman has not looked yet.
var ErrNothingYet = errors.New("this control center does not lead, or has not looked yet")

// WriteReport writes it as JSON.
func (f *Foreman) WriteReport(w io.Writer) error {
	r := f.Report()
	if r.Services == nil {
		return ErrNothingYet
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
