package placement

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

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

// newMachineRoom is a node as it will be.
func newMachineRoom(name string, capacity cluster.Resources, labels map[string]string) *room {
	return &room{
		node: name, labels: labels, zone: labels[cluster.ZoneLabel], hosts: map[string]int{}, refused: map[string]bool{}, full: map[string]bool{},
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
