package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Of machines that a hook acquires.
const (
	lateAfter  = 10 * time.Minute // to join, before it is told
	lostAfter  = 30 * time.Minute // to join, before it is given back
	agentAfter = time.Minute      // for the agent to be in touch, once the launcher is there
)

// keepMachines gives back those on which nothing has run for long, and forgets those that are gone.
func (r *round) keepMachines() {
	for _, name := range slices.Sorted(maps.Keys(r.machines)) {
		m := r.machines[name]
		switch {
		case r.forgotten(m.member):
			r.unassign(m.member)
		case m.phase() == cluster.PhaseRefused:
			r.state.refused[m.node] = r.Now
			r.tell(cluster.EventRefused, m.assignment, fmt.Sprintf("node %s, from the hook of node %s: %s", name, m.node, refusal(m.launched)), r.release(m.member))
		case !m.kept():
			r.clearAway(m)
		default:
			r.watch(m)
		}
	}
	maps.DeleteFunc(r.state.empty, func(name string, _ time.Time) bool { return r.machines[name] == nil })
	maps.DeleteFunc(r.state.refused, func(_ string, at time.Time) bool { return r.Now.Sub(at) >= refusalRest })
}

// tell adds an action about a machine. It is told among the events of the service that needed it, where that is known.
func (r *round) tell(what string, a cluster.Assignment, reason string, decisions ...cluster.Decision) {
	if cluster.ValidName(a.For) != "" {
		what = ""
	}
	r.do(what, a.For, reason, decisions...)
}

func refusal(l *cluster.Launched) string {
	if l.Problem == nil {
		return "it refuses"
	}
	return l.Problem.Error()
}

// clearAway forgets a node once the hook has released its machine and its agent is gone.
func (r *round) clearAway(m *machine) {
	if m.phase() != cluster.PhaseStopped {
		return
	}
	if r.Operations.Alive[m.name()] {
		if r.Now.Sub(m.launched.Since) > time.Minute {
			r.problems = append(r.problems, cluster.Problem{Object: "node " + m.name(), What: fmt.Sprintf("the hook of node %s says that its machine is gone, and its agent is in touch", m.node), Fix: "look after the hook"})
		}
		return
	}
	r.do("", "", "", cluster.ForgetNode{Node: m.name()}, r.release(m.member), seen("node "+m.name()+" was given back"))
}

// watch gives a machine back when it has been of no use for long, since it joined: on its way it can be of none. How long is
// remembered by one leader only: the next one begins anew.
func (r *round) watch(m *machine) {
	if !m.empty {
		delete(r.state.empty, m.name())
		return
	}
	since, seen := r.state.empty[m.name()]
	if !seen && m.joined {
		since = r.Now
		r.state.empty[m.name()] = since
	}
	limit, why := idleTime(r.Operations.Launchers[m.node].Nodes), "nothing has run on it for"
	if !r.inTouch(m.name()) {
		limit = max(limit, agentAfter)
	}
	if age := r.Now.Sub(m.assignment.Since); !m.joined {
		since, limit, why = m.assignment.Since, lostAfter, "it has not joined for"
		if age > lateAfter {
			r.problems = append(r.problems, cluster.Problem{
				Object: "node " + m.name(), What: fmt.Sprintf("the hook of node %s was asked for it %s ago, and no launcher of that name has come", m.node, age.Round(time.Second)),
				Fix: "see that the machine starts weir agent and weir launcher with --node " + m.name() + "; its status: " + cmp.Or(string(m.phase()), "none"),
			})
		}
	}
	if r.Now.Sub(since) < limit || !r.launching(m.node) {
		return
	}
	next := m.assignment
	next.Wanted, next.Reason, next.Since = cluster.WantStopped, fmt.Sprintf("%s %s", why, limit), r.Now
	m.assignment = next
	r.tell(cluster.EventReturned, next, fmt.Sprintf("node %s goes back to the hook of node %s: %s", m.name(), m.node, next.Reason), cluster.Assign{Node: m.node, ID: m.id, Assignment: next})
	if o := r.rooms[m.name()]; o != nil {
		o.closed = "it is being given back"
	}
}

func idleTime(o *cluster.NodeOffer) time.Duration {
	if o == nil {
		return time.Duration(cluster.DefaultEmpty)
	}
	return time.Duration(cmp.Or(o.Idle, cluster.DefaultEmpty))
}
