package placement

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// claim finds a free port of a node for each port of a service; false, and none is taken, where there are not so many. Ports are
// sought from a place that the service's name decides, so that one that is started again tends to find its old ones.
func (r *round) claim(o *room, s *cluster.Service) (ports map[string]uint16, claims []uint16, ok bool) {
	taken := r.ports[o.node]
	if taken == nil {
		taken = map[uint16]bool{}
		r.ports[o.node] = taken
	}
	ports = map[string]uint16{}
	next := o.seek(s.Name)
	for _, p := range s.Ports {
		port, found := next(func(port uint16) bool { return !taken[port] && r.claimable(o.node, port) })
		if !found {
			return nil, nil, false
		}
		ports[p.Name] = port
		claims = append(claims, port)
	}
	for _, port := range claims {
		taken[port] = true
	}
	return ports, claims, true
}

// seek yields the ports of a node's range, each once.
func (o *room) seek(service string) func(free func(uint16) bool) (uint16, bool) {
	from, size := int(o.launcher.Ports.From), int(o.launcher.Ports.To)-int(o.launcher.Ports.From)+1
	h := fnv.New32a()
	h.Write([]byte(service))
	start, i := int(h.Sum32())%max(size, 1), 0
	return func(free func(uint16) bool) (uint16, bool) {
		for ; i < size; i++ {
			if port := uint16(from + (start+i)%size); port != 0 && free(port) {
				i++
				return port, true
			}
		}
		return 0, false
	}
}

// claimable says whether nobody has a port. A claim is made anew only where there is none: who freed it is asked by freePorts.
func (r *round) claimable(node string, port uint16) bool {
	_, claimed := r.Operations.Ports[node][port]
	return !claimed
}

// freePorts ends the claims on ports that nobody can reach any more under their old meaning: every known node has applied a
// state without it, or an hour has passed. A claim of an instance that is not assigned, which a crash may leave behind, is
// freed as well, but not while the instance runs: it is adopted, with its ports.
func (r *round) freePorts() {
	for _, node := range slices.Sorted(maps.Keys(r.Operations.Ports)) {
		for _, port := range slices.Sorted(maps.Keys(r.Operations.Ports[node])) {
			c := r.Operations.Ports[node][port]
			if c.ID != "" {
				if _, there := r.Operations.Assigned[node][c.ID]; there || r.runs(node, c.ID) {
					continue
				}
				r.do("", "", "", cluster.Unassign{Node: node, ID: c.ID, Service: c.Service, Ports: []uint16{port}, Since: r.Now, Revision: r.without(r.statesOf(c.Service)[c.ID])})
				continue
			}
			if r.Now.Sub(c.Since) >= portRest || !c.Busy && r.appliedByAll(c.Revision) {
				r.do("", "", "", cluster.FreePort{Node: node, Port: port})
			}
		}
	}
}

// runs says whether a node's launcher tells of an instance that has not ended.
func (r *round) runs(node, id string) bool {
	l, told := r.Operations.Launched[node][id]
	return told && !l.Over()
}

// appliedByAll says whether every known node has applied a revision.
func (r *round) appliedByAll(revision int64) bool {
	for node := range r.Snapshot.Nodes.All() {
		if r.Operations.Applied[node].Revision < revision {
			return false
		}
	}
	return true
}
