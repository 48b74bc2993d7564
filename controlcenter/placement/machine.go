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

// machine is a node that the hook of another node's launcher acquired, or is to.
type machine struct {
	*member      // its node is the one whose hook it is
	joined  bool // its own launcher is there
	empty   bool // nothing runs on it
}

// name is that of the node that the machine is.
func (m *machine) name() string { return m.id }

// machinesOf are those that are assigned, by the names of the nodes that they are.
func (r *round) machinesOf() map[string]*machine {
	out := map[string]*machine{}
	for node, assigned := range r.Operations.Assigned {
		for id, a := range assigned {
			if a.Kind != cluster.KindNode {
				continue
			}
			m := &machine{member: &member{node: node, id: id, assignment: a}, joined: r.launching(id)}
			if l, ok := r.Operations.Launched[node][id]; ok {
				m.launched = &l
			}
			out[id] = m
		}
	}
	if len(out) > 0 {
		r.findEmpty(out)
	}
	return out
}

// findEmpty looks for machines on which nothing runs, whoever started it.
func (r *round) findEmpty(machines map[string]*machine) {
	used := map[string]bool{}
	for _, in := range r.Snapshot.Services.All() {
		for _, h := range in.Hosts {
			used[h.Node] = true
		}
	}
	for name, m := range machines {
		m.empty = !used[name] && !r.occupied(name)
	}
}

// occupied says whether something runs on a node, or is to.
func (r *round) occupied(node string) bool {
	for id := range r.Operations.Assigned[node] {
		if !r.Operations.Launched[node][id].Refused() {
			return true
		}
	}
	for _, l := range r.Operations.Launched[node] {
		if !l.Over() {
			return true
		}
	}
	return false
}

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

// lack is that no node has room for some of the instances of a service that are wanted.
type lack struct {
	service *cluster.Service
	missing int
	why     string
}

// acquire asks hooks for machines where nothing else has room: no more than what is missing needs, with those that are on
// their way.
func (r *round) acquire() {
	if len(r.lacks) == 0 {
		return
	}
	var coming []*room
	for _, name := range slices.Sorted(maps.Keys(r.machines)) {
		if m := r.machines[name]; r.coming(m) {
			coming = append(coming, newMachineRoom(name, m.assignment.Run.Resources, m.assignment.Run.Nodes))
		}
	}
	for _, l := range r.lacks {
		for range l.missing {
			o := r.foreseen(l.service, coming)
			if o == nil {
				if o = r.order(l); o == nil {
					break
				}
				coming = append(coming, o)
			}
			o.take(cluster.Assignment{Service: l.service.Name, Run: *l.service.Run})
		}
	}
}

// coming says whether a machine is on its way. Its launcher and its agent start at the same time: which of them is seen first
// is chance, and until both are there nothing is placed on it.
func (r *round) coming(m *machine) bool {
	switch {
	case !m.kept() || m.phase() == cluster.PhaseRefused:
		return false
	case !m.joined:
		return true
	}
	return m.empty && !r.inTouch(m.name()) && r.Now.Sub(r.state.empty[m.name()]) < agentAfter
}

// inTouch says whether a node has joined and its agent is in touch.
func (r *round) inTouch(node string) bool {
	_, known := r.Snapshot.Nodes.Get(node)
	return known && r.Operations.Alive[node]
}

// newMachineRoom is a node as it will be.
func newMachineRoom(name string, capacity cluster.Resources, labels map[string]string) *room {
	return &room{
		node: name, labels: labels, zone: labels[cluster.ZoneLabel], hosts: map[string]int{}, refused: map[string]bool{},
		launcher: cluster.Launcher{Drivers: []string{cluster.DriverProcess}, Capacity: capacity},
	}
}

func (r *round) foreseen(s *cluster.Service, coming []*room) *room {
	for _, o := range coming {
		if o.fits(s) == "" {
			return o
		}
	}
	return nil
}

// order has the first launcher that offers a machine on which the service fits acquire one.
func (r *round) order(l lack) *room {
	for _, node := range slices.Sorted(maps.Keys(r.Operations.Launchers)) {
		offer, s := r.Operations.Launchers[node].Nodes, l.service
		if offer == nil || !r.offers(node, s) {
			continue
		}
		name := r.newID("node")
		o := newMachineRoom(name, offer.Capacity, offer.Labels)
		if o.fits(s) != "" {
			continue
		}
		a := cluster.Assignment{
			Kind: cluster.KindNode, For: s.Name, Run: cluster.Run{Driver: cluster.DriverHook, Resources: offer.Capacity, Nodes: offer.Labels},
			Wanted: cluster.WantServing, Version: string(cluster.KindNode), Reason: l.why, Since: r.Now,
		}
		r.machines[name] = &machine{member: &member{node: node, id: name, assignment: a}}
		r.tell(cluster.EventAcquired, a, fmt.Sprintf("node %s from the hook of node %s: %s", name, node, l.why), cluster.Assign{Node: node, ID: name, Assignment: a})
		return o
	}
	return nil
}

// offers says whether a node's hook may be asked for one more machine now. It may not where one that it gave stands empty:
// what has no room there will find none on another.
func (r *round) offers(node string, s *cluster.Service) bool {
	l := r.Operations.Launchers[node]
	if _, refused := r.state.refused[node]; refused || !r.Operations.Alive[node] || r.down(node) || len(l.Services) > 0 && !slices.Contains(l.Services, s.Name) {
		return false
	}
	n := 0
	for name, m := range r.machines {
		if m.node != node {
			continue
		}
		if n++; m.joined && m.empty && m.kept() && r.rooms[name] != nil && r.rooms[name].closed == "" {
			return false
		}
	}
	return n < l.Nodes.Most
}

// origin is where a node comes from, for who reads why an instance is there.
func (r *round) origin(node string) string {
	if m := r.machines[node]; m != nil {
		return fmt.Sprintf(", from the hook of node %s", m.node)
	}
	return ", which has room"
}
