package cluster

import (
	"cmp"
	"net/netip"
	"slices"
)

// index answers the questions that span services: who else claims this frontend, is this address somebody's VIP, which
// node has this address.
type index struct {
	claims    map[Frontend][]claim // oldest first; almost always one
	vips      counted
	instances counted
	nodes     map[string]*Node
	nodeOf    map[netip.Addr][]string // sorted; almost always one
	touched   map[string]bool         // nodes since the last flush
}

type claim struct {
	created int64
	service string
}

func (a claim) compare(b claim) int {
	return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.service, b.service))
}

func newIndex() index {
	return index{
		claims: map[Frontend][]claim{}, vips: counted{}, instances: counted{},
		nodes: map[string]*Node{}, nodeOf: map[netip.Addr][]string{}, touched: map[string]bool{},
	}
}

// replace moves the index from one form of a service to the next (either may be nil) and returns the services that
// share a frontend with it.
func (x *index) replace(name string, old, new *Service) (rivals []string) {
	if old != nil {
		for _, f := range old.Frontends() {
			mine := func(c claim) bool { return c.service == name }
			if x.claims[f] = slices.DeleteFunc(x.claims[f], mine); len(x.claims[f]) == 0 {
				delete(x.claims, f)
			}
			rivals = append(rivals, x.claimants(f)...)
		}
		x.each(old, x.vips.remove, x.instances.remove)
	}
	if new != nil {
		for _, f := range new.Frontends() {
			rivals = append(rivals, x.claimants(f)...)
			x.claims[f] = append(x.claims[f], claim{new.CreateRevision, name})
			slices.SortFunc(x.claims[f], claim.compare)
		}
		x.each(new, x.vips.add, x.instances.add)
	}
	return rivals
}

func (x *index) each(s *Service, vip, instance func(netip.Addr)) {
	for _, v := range s.VIPs {
		vip(v)
	}
	for _, i := range s.Instances {
		instance(i.Addr)
	}
}

func (x *index) claimants(f Frontend) (names []string) {
	for _, c := range x.claims[f] {
		names = append(names, c.service)
	}
	return names
}

// lost are the frontends of a service that an older one holds, with its name.
func (x *index) lost(name string, s *Service) (lost map[Frontend]string) {
	for _, f := range s.Frontends() {
		if owner := x.claims[f][0].service; owner != name {
			set(&lost, f, owner)
		}
	}
	return lost
}

// hostOf is the node that an instance runs on: the one that registered it, or the one that has its address
// (of several the first by name, so that every node sees the same one).
func (x *index) hostOf(i Instance) string {
	if i.Node != "" {
		return i.Node
	}
	if nodes := x.nodeOf[i.Addr]; len(nodes) > 0 {
		return nodes[0]
	}
	return ""
}

// hostsAny says whether a node has the address of an instance or, by mistake, of a VIP.
func (x *index) hostsAny(n *Node) bool {
	return n != nil && slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool { return x.instances.has(a) || x.vips.has(a) })
}

func (x *index) setNode(name string, n *Node) {
	if old := x.nodes[name]; old != nil {
		for _, a := range old.Addresses {
			if x.nodeOf[a] = slices.DeleteFunc(x.nodeOf[a], func(s string) bool { return s == name }); len(x.nodeOf[a]) == 0 {
				delete(x.nodeOf, a)
			}
		}
	}
	put(x.nodes, name, n)
	x.touched[name] = true
	if n == nil {
		return
	}
	for _, a := range n.Addresses {
		x.nodeOf[a] = append(x.nodeOf[a], name)
		slices.Sort(x.nodeOf[a])
	}
}

func (x *index) flushNodes(into *MapEdit[string, *Node]) {
	for name := range x.touched {
		if n := x.nodes[name]; n != nil {
			into.Set(name, n)
		} else {
			into.Delete(name)
		}
	}
	clear(x.touched)
}
