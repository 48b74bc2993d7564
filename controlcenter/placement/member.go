package placement

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// member is one assigned instance of a service with all that is known of it.
type member struct {
	node, id   string
	assignment cluster.Assignment
	launched   *cluster.Launched // nil: its launcher has not said anything yet
	state      *cluster.State    // what every node makes of it; nil: it is not registered
	lost       bool              // its node is down
	leaving    string            // why it should go once a substitute is ready; "": it should not
	moves      bool              // off a busy node: its substitute is placed already
}

// membersOf are the assigned instances of each service, by node and id.
func (r *round) membersOf() map[string][]*member {
	out := map[string][]*member{}
	states := map[string]map[string]*cluster.State{}
	for _, node := range slices.Sorted(maps.Keys(r.Operations.Assigned)) {
		for _, id := range slices.Sorted(maps.Keys(r.Operations.Assigned[node])) {
			a := r.Operations.Assigned[node][id]
			if a.Kind != cluster.KindInstance {
				continue
			}
			m := &member{node: node, id: id, assignment: a, lost: r.down(node)}
			if l, ok := r.Operations.Launched[node][id]; ok {
				m.launched = &l
			}
			if states[a.Service] == nil {
				states[a.Service] = r.statesOf(a.Service)
			}
			m.state = states[a.Service][id]
			out[a.Service] = append(out[a.Service], m)
		}
	}
	return out
}

func (r *round) statesOf(service string) map[string]*cluster.State {
	out := map[string]*cluster.State{}
	if in, ok := r.Snapshot.Services.Get(service); ok {
		for _, s := range cluster.Resolve(in).Instances {
			if s.Instance.Node != "" && out[s.Instance.ID] == nil {
				out[s.Instance.ID] = &s
			}
		}
	}
	return out
}

func (m *member) key() instanceKey { return instanceKey{m.node, m.id} }

func (m *member) phase() cluster.Phase {
	if m.launched == nil {
		return ""
	}
	return m.launched.Phase
}

// kept says whether it is to run on.
func (m *member) kept() bool { return m.assignment.Wanted.Kept() }

func (m *member) standby() bool { return m.assignment.Wanted == cluster.WantStandby }

// ready says whether it takes new connections, or could at once.
func (m *member) ready() bool {
	if m.lost || m.phase() != cluster.PhaseReady || m.state == nil {
		return false
	}
	switch m.state.Status {
	case cluster.Serving, cluster.IsSuspect, cluster.Standby, cluster.Panic:
		return true
	}
	return false
}

// sick says whether it has been unwell for longer than the service permits. An end of its process is its launcher's
// affair: that starts it anew.
func (m *member) sick(s *cluster.Service, now time.Time) bool {
	if m.state == nil || m.phase() != cluster.PhaseReady {
		return false
	}
	if m.state.Status != cluster.IsFailing && m.state.Status != cluster.IsDead || m.state.Since.IsZero() {
		return false
	}
	check := cluster.Check{}
	if s.Check != nil {
		check = *s.Check
	}
	check = check.WithDefaults()
	after := defaultPatience * check.Fall
	if s.Restart != nil {
		after = cmp.Or(s.Restart.After, after)
	}
	// The verdict came after the check's fall, so that many have passed already.
	return now.Sub(m.state.Since) >= time.Duration(max(after-check.Fall, 0))*time.Duration(check.Interval)
}

// unheard is how many connections one has that is not heard of: it may be the fullest.
const unheard = 1 << 30

// open is how many connections an instance has.
func (r *round) open(service, id string) float64 {
	if n, known := r.Connections[service][id]; known {
		return n
	}
	return unheard
}

// loadmonMember is what decides who goes first.
func (r *round) loadmonMember(m *member) loadmon.Member {
	connections := r.open(m.assignment.Service, m.id)
	if m.standby() {
		connections = 0
	}
	return loadmon.Member{ID: m.id, Ready: m.ready(), Current: m.leaving == "", Connections: connections, Age: r.Now.Sub(m.assignment.Since)}
}
