package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// depart moves an instance along its way out: drained, stopped, forgotten.
func (r *round) depart(m *member) {
	switch m.assignment.Wanted {
	case cluster.WantDrained:
		if why := r.emptied(m); why != "" {
			r.want(m, cluster.WantStopped, why)
		}
	case cluster.WantStopped:
		// Its launcher took it back from the nodes before it said so, and a moment later the snapshot shows that.
		if m.state == nil && m.launched != nil && m.launched.Over() {
			r.unassign(m)
		}
	}
}

func (r *round) launching(node string) bool {
	_, there := r.Operations.Launchers[node]
	return there
}

// unassign forgets an instance that does not run.
func (r *round) unassign(m *member) {
	what, why := "", ""
	if m.phase() == cluster.PhaseStopped && m.launched.Problem != nil { // as one that had to be killed
		what, why = cluster.EventStopped, m.launched.Problem.Error()
	}
	r.do(what, m.assignment.Service, why, r.release(m))
}

// release is the end of an assignment.
func (r *round) release(m *member) cluster.Unassign {
	return cluster.Unassign{Node: m.node, ID: m.id, Service: m.assignment.Service, Ports: m.portNumbers(), Since: r.Now, Revision: r.without(m.state), Forgotten: r.forgotten(m)}
}

// without is a revision from which on no node knows an instance, with this state. Nodes apply snapshots: a revision of which
// no snapshot is made, as each write below ops/ has one, would be waited for until somebody changes something else.
func (r *round) without(s *cluster.State) int64 {
	if s == nil {
		return r.Snapshot.Revision
	}
	return max(r.Snapshot.Revision, r.Operations.Revision)
}

func (m *member) portNumbers() (out []uint16) {
	for _, port := range m.assignment.Ports {
		out = append(out, port)
	}
	slices.Sort(out)
	return out
}

// emptied says why a drained instance may be stopped, or "".
func (r *round) emptied(m *member) string {
	waited := r.Now.Sub(m.assignment.Since)
	limit := time.Duration(cmp.Or(m.assignment.Run.Drain, cluster.DefaultDrain))
	if waited >= limit {
		return fmt.Sprintf("its connections had %s", limit)
	}
	if m.phase() != cluster.PhaseReady && m.phase() != cluster.PhaseStarting {
		return "it does not run"
	}
	if m.state != nil && m.state.Status != cluster.Draining {
		return "" // its launcher, or the agents, do not know yet
	}
	since, seen := r.state.draining[m.key()]
	if !seen {
		since = r.Snapshot.Revision
		r.state.draining[m.key()] = since
	}
	if r.Snapshot.Barrier < since {
		r.acknowledge()
		return ""
	}
	if left := r.flows(m, since, waited); left {
		return ""
	}
	return "it has no connections left"
}

// acknowledge has all agents tell at once what they have applied.
func (r *round) acknowledge() {
	asked := func(a Action) bool {
		_, ok := a.Decisions[0].(cluster.Acknowledge)
		return ok
	}
	if !slices.ContainsFunc(r.actions, asked) {
		r.do("", "", "", cluster.Acknowledge{Reason: "instances are drained"})
	}
}

// flows says whether a node may still carry connections to an instance that was out of traffic at a revision. A node that lost
// its contact to etcd is waited for a while; after that nobody can say what it carries.
func (r *round) flows(m *member, since int64, waited time.Duration) bool {
	key := m.assignment.Service + "/" + m.id
	for node := range r.Snapshot.Nodes.All() {
		a := r.Operations.Applied[node]
		switch {
		case !r.Operations.Alive[node]:
			if waited < cutOff {
				return true
			}
		case a.Revision < since, a.FlowsRevision < since, a.Flows[key] > 0:
			return true
		}
	}
	return false
}

// want changes what is wanted of an instance.
func (r *round) want(m *member, w cluster.Wanted, reason string) {
	next := m.assignment
	next.Wanted, next.Reason, next.Since = w, reason, r.Now
	r.do(told(m.assignment.Wanted, w), m.assignment.Service, fmt.Sprintf("instance %s on node %s: %s", m.id, m.node, reason), cluster.Assign{Node: m.node, ID: m.id, Assignment: next})
	m.assignment = next
}

// told is what an event says of a change.
func told(from, to cluster.Wanted) string {
	switch {
	case to == cluster.WantDrained:
		return cluster.EventDrained
	case to == cluster.WantStopped:
		return cluster.EventStopped
	case from == cluster.WantStandby:
		return cluster.EventPromoted
	}
	return cluster.EventPlaced
}
