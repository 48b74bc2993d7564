package placement

import (
	"fmt"
	"reflect"

	"github.com/weir-lb/weir/cluster"
)

// external has each of the instances that a file gives addresses of looked at by one launcher. Nothing runs there for it, so
// nothing is drained when another node is to look: it only has to be one at a time, or two would claim the same address.
func (r *round) external(s *cluster.Service, members []*member) {
	looked := map[string]bool{}
	wanted := map[string]cluster.Instance{}
	for _, i := range s.Run.Instances {
		wanted[i.Address()+fmt.Sprint(i.Ports)] = i
	}
	for _, m := range members {
		key, listed := r.listed(m, s, wanted)
		admin := r.Snapshot.NodeAdmin[m.node]
		switch {
		case r.forgotten(m), m.lost && !r.launching(m.node):
			r.unassign(m)
		case m.phase() == cluster.PhaseRefused && listed:
			t := team{round: r, service: s, version: m.assignment.Version}
			t.refused(m)
		case !m.kept():
			looked[key] = true // until it is gone
			r.depart(m)
		case !listed:
			r.want(m, cluster.WantDrained, "it is not listed any more")
		case looked[key] || m.lost || admin != nil && admin.Drain:
			looked[key] = true
			r.want(m, cluster.WantStopped, "another node looks at it")
		default:
			looked[key] = true
			r.rephrase(m, s)
		}
	}
	for _, i := range s.Run.Instances {
		if key := i.Address() + fmt.Sprint(i.Ports); !looked[key] {
			looked[key] = true
			r.lookAt(s, i)
		}
	}
}

// listed is which of the instances a member is, and whether the file still lists it.
func (r *round) listed(m *member, s *cluster.Service, wanted map[string]cluster.Instance) (key string, ok bool) {
	for key, i := range wanted {
		if m.assignment.Address == i.Addr && reflect.DeepEqual(m.assignment.Ports, portsOf(s, i)) {
			return key, true
		}
	}
	return m.id, false
}

// portsOf are the ports of an instance by the names of its service's.
func portsOf(s *cluster.Service, i cluster.Instance) map[string]uint16 {
	out := map[string]uint16{}
	for _, p := range s.Ports {
		if at, ok := i.Target(p); ok {
			out[p.Name] = at.Port()
		}
	}
	return out
}

// rephrase hands on another check.
func (r *round) rephrase(m *member, s *cluster.Service) {
	if !reflect.DeepEqual(m.assignment.Check, s.Check) {
		m.assignment.Check = s.Check
		r.do("", "", "", cluster.Assign{Node: m.node, ID: m.id, Assignment: m.assignment})
	}
}

// lookAt gives one instance to a launcher.
func (r *round) lookAt(s *cluster.Service, i cluster.Instance) {
	o, why := r.best(s)
	if o == nil {
		r.problems = append(r.problems, cluster.Problem{Object: named(s.Name), Field: "run", What: "nobody can look at " + i.Address() + ": " + why, Fix: "allow the driver external in a launcher's list"})
		return
	}
	a := cluster.Assignment{
		Service: s.Name, Run: cluster.Run{Driver: cluster.DriverExternal, Drain: s.Run.Drain}, Check: s.Check, Address: i.Addr, Ports: portsOf(s, i),
		Wanted: cluster.WantServing, Version: cluster.DriverExternal, Reason: "its service lists it", Since: r.Now,
	}
	id := r.newID(s.Name)
	r.fill(o, a)
	r.do(cluster.EventPlaced, s.Name, fmt.Sprintf("%s is looked at by node %s, as instance %s", i.Address(), o.node, id), cluster.Assign{Node: o.node, ID: id, Assignment: a})
}
