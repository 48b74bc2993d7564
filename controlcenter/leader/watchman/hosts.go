package watchman

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// hosts knows which services have instances on which node. It follows snapshots at the cost of what changes.
type hosts struct {
	seen *cluster.Snapshot
	on   map[string]map[string]bool // node -> services
}

func (h *hosts) follow(s *cluster.Snapshot) {
	if h.seen == s {
		return
	}
	before := cluster.Map[string, *cluster.Inputs]{}
	if h.seen != nil {
		before = h.seen.Services
	} else {
		h.on = map[string]map[string]bool{}
	}
	for name, pair := range cluster.Changed(before, s.Services) {
		for node := range nodesOf(pair[0]) {
			if delete(h.on[node], name); len(h.on[node]) == 0 {
				delete(h.on, node)
			}
		}
		for node := range nodesOf(pair[1]) {
			if h.on[node] == nil {
				h.on[node] = map[string]bool{}
			}
			h.on[node][name] = true
		}
	}
	h.seen = s
}

func nodesOf(in *cluster.Inputs) map[string]bool {
	out := map[string]bool{}
	if in != nil {
		for _, host := range in.Hosts {
			out[host.Node] = true
		}
	}
	return out
}

// nodes are all that the snapshot speaks of.
func (h *hosts) nodes() map[string]Node {
	out := map[string]Node{}
	for name, n := range h.seen.Nodes.All() {
		out[name] = Node{Monitor: n.Monitor != ""}
	}
	for name := range h.on {
		n := out[name]
		n.Hosts = true
		out[name] = n
	}
	for name, down := range h.seen.Down {
		n := out[name]
		n.Down = down
		out[name] = n
	}
	return out
}

// services with instances on a node, by name.
func (h *hosts) services(node string) []string { return slices.Sorted(maps.Keys(h.on[node])) }

// addresses at which the instances on a node listen for TCP, those that take new connections first.
func (h *hosts) addresses(node string) []netip.AddrPort {
	taking := map[netip.AddrPort]bool{}
	for name := range h.on[node] {
		in, _ := h.seen.Services.Get(name)
		for _, s := range cluster.Resolve(in).Instances {
			if s.Node != node || s.Status == cluster.Refused || s.Status == cluster.Duplicate {
				continue
			}
			for _, port := range in.Service.Ports {
				if address, ok := s.Instance.Target(port); ok && port.Protocol == cluster.TCP {
					taking[address] = taking[address] || s.Takes()
				}
			}
		}
	}
	rank := func(a netip.AddrPort) int {
		if taking[a] {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(taking), func(a, b netip.AddrPort) int {
		return cmp.Or(rank(a)-rank(b), a.Compare(b))
	})
}
