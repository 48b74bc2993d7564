package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// room is what a node has left.
type room struct {
	node     string
	zone     string
	labels   map[string]string
	launcher cluster.Launcher
	taken    cluster.Resources
	hosts    map[string]int  // instances of each service
	refused  map[string]bool // services that it refused a short while ago
	full     map[string]bool // services for which it has too few free ports
	closed   string          // why nothing new is placed there; "": it is open
	hot      bool            // it has been too busy for a while
}

// allRooms are those of the nodes that have a launcher.
func (r *round) allRooms() map[string]*room {
	out := map[string]*room{}
	for node, l := range r.Operations.Launchers {
		n, known := r.Snapshot.Nodes.Get(node)
		o := &room{node: node, launcher: l, hosts: map[string]int{}, refused: map[string]bool{}, full: map[string]bool{}}
		if known {
			o.labels, o.zone = n.Labels, n.Labels[cluster.ZoneLabel]
		}
		o.closed, o.hot = r.closed(node, known), r.hot(node)
		for id, a := range r.Operations.Assigned[node] {
			if a.Kind != cluster.KindInstance {
				continue // it is another node
			}
			o.take(a)
			if l, ok := r.Operations.Launched[node][id]; ok && r.refuses(node, a, l) {
				o.refused[a.Service] = true
			}
		}
		out[node] = o
	}
	return out
}

// refuses says whether a node's word that it does not run a service stands: for a while, as its owner may permit more; on a
// machine for as long as that is there, since one that cannot run what it was acquired for should go back. Its age is that
// of what a leader wrote, as clocks of nodes may differ.
func (r *round) refuses(node string, a cluster.Assignment, l cluster.Launched) bool {
	return l.Refused() && l.PortBusy == 0 && (r.machines[node] != nil || r.Now.Sub(a.Since) < refusalRest)
}

func (r *round) closed(node string, known bool) string {
	admin := r.Snapshot.NodeAdmin[node]
	switch {
	case !known:
		return "its agent never joined"
	case r.down(node):
		return "it is down"
	case r.machines[node] != nil && !r.machines[node].kept():
		return "it is being given back"
	case !r.Operations.Alive[node]:
		return "its agent is not in touch"
	case admin != nil && admin.Drain:
		return "it is drained"
	case admin != nil && admin.Cordon:
		return "it is cordoned"
	}
	return ""
}

func (o *room) take(a cluster.Assignment) {
	if a.Wanted == cluster.WantStopped {
		return
	}
	o.taken.CPU += a.Run.Resources.CPU
	o.taken.Memory += a.Run.Resources.Memory
	o.hosts[a.Service]++
}

// fill has one more instance in a room. A machine that gets one is needed, however long it stood empty.
func (r *round) fill(o *room, a cluster.Assignment) {
	o.take(a)
	if m := r.machines[o.node]; m != nil {
		m.empty = false
	}
}

// fits says why an instance cannot be placed there, or "": what will not change by itself is said first.
func (o *room) fits(s *cluster.Service) string {
	need, have := s.Run.Resources, o.launcher.Capacity
	driver, unlike := cmp.Or(s.Run.Driver, cluster.DriverProcess), o.mismatch(s)
	switch {
	case o.closed != "":
		return o.closed
	case !slices.Contains(o.launcher.Drivers, driver):
		return fmt.Sprintf("it has no driver %s", driver)
	case len(o.launcher.Services) > 0 && !slices.Contains(o.launcher.Services, s.Name):
		return "its owner does not permit the service"
	case unlike != "":
		return unlike
	case o.refused[s.Name]:
		return "it refused the service a short while ago"
	case have.CPU > 0 && o.taken.CPU+need.CPU > have.CPU:
		return fmt.Sprintf("%.3g processors are wanted, and %.3g of %.3g are taken", need.CPU, o.taken.CPU, have.CPU)
	case have.Memory > 0 && o.taken.Memory+need.Memory > have.Memory:
		return fmt.Sprintf("%s of memory are wanted, and %s of %s are taken", need.Memory, o.taken.Memory, have.Memory)
	case o.full[s.Name] && len(s.Ports) == 1:
		return fmt.Sprintf("its ports are all taken (%s, its launcher's --ports)", o.launcher.Ports)
	case o.full[s.Name]:
		return fmt.Sprintf("fewer than %d of its ports are free (%s, its launcher's --ports)", len(s.Ports), o.launcher.Ports)
	}
	return ""
}

// mismatch says which label of the node is not as the service wants it, or "".
func (o *room) mismatch(s *cluster.Service) string {
	for _, name := range slices.Sorted(maps.Keys(s.Run.Nodes)) {
		if o.labels[name] != s.Run.Nodes[name] {
			return fmt.Sprintf("label %s is %q, and %q is wanted", name, o.labels[name], s.Run.Nodes[name])
		}
	}
	return ""
}

// free is the part of the node that is left, of what is scarcer.
func (o *room) free() float64 {
	cpu, memory := 1.0, 1.0
	if c := o.launcher.Capacity.CPU; c > 0 {
		cpu = 1 - o.taken.CPU/c
	}
	if c := o.launcher.Capacity.Memory; c > 0 {
		memory = 1 - float64(o.taken.Memory)/float64(c)
	}
	return min(cpu, memory)
}

// best is the room for one more instance: on a node that is not too busy, where the service has the fewest, then in the zone
// where it has the fewest, then where most is free. Nil and why, where there is none.
func (r *round) best(s *cluster.Service) (*room, string) {
	zones := map[string]int{}
	for _, o := range r.rooms {
		zones[o.zone] += o.hosts[s.Name]
	}
	var fitting []*room
	why := map[string]int{}
	for _, node := range slices.Sorted(maps.Keys(r.rooms)) {
		if reason := r.rooms[node].fits(s); reason != "" {
			why[reason]++
		} else {
			fitting = append(fitting, r.rooms[node])
		}
	}
	if len(fitting) == 0 {
		return nil, noRoom(len(r.rooms), why)
	}
	return slices.MinFunc(fitting, func(a, b *room) int {
		return cmp.Or(cmp.Compare(truth(a.hot), truth(b.hot)), cmp.Compare(a.hosts[s.Name], b.hosts[s.Name]), cmp.Compare(zones[a.zone], zones[b.zone]), cmp.Compare(b.free(), a.free()), cmp.Compare(a.node, b.node))
	}), ""
}

func noRoom(n int, why map[string]int) string {
	if n == 0 {
		return "no node has a launcher"
	}
	text := fmt.Sprintf("none of %d nodes has room", n)
	for i, reason := range slices.SortedFunc(maps.Keys(why), func(a, b string) int { return cmp.Or(cmp.Compare(why[b], why[a]), cmp.Compare(a, b)) }) {
		if i == 3 {
			break
		}
		text += fmt.Sprintf("; %d of them: %s", why[reason], reason)
	}
	return text
}
