package placement

import (
	"fmt"

	"github.com/weir-lb/weir/cluster"
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

// inTouch says whether a node has joined and its agent is in touch.
func (r *round) inTouch(node string) bool {
	_, known := r.Snapshot.Nodes.Get(node)
	return known && r.Operations.Alive[node]
}

// origin is where a node comes from, for who reads why an instance is there.
func (r *round) origin(node string) string {
	if m := r.machines[node]; m != nil {
		return fmt.Sprintf(", from the hook of node %s", m.node)
	}
	return ", which has room"
}
