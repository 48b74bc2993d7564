package cluster

import (
	"fmt"
	"net/netip"
)

// Place is where a client stands.
type Place struct{ Node, Zone string }

// Place of a node; its zone is empty where the node has no label.
func (s *Snapshot) Place(node string) Place {
	at := Place{Node: node}
	if n, _ := s.Nodes.Get(node); n != nil {
		at.Zone = n.Labels[ZoneLabel]
	}
	return at
}

// Near are the targets of a frontend that a place uses, and why not all. Only instances that are well are worth
// preferring: where none of the near ones is, all are used, as everywhere else.
func (r *Resolved) Near(f Frontend, at Place) (targets []Target, why string) {
	all := r.targets[f]
	near, where := r.preference(at)
	if near == nil {
		return all, where
	}
	targets = r.targetsOf(f.VIP, r.portOf(f), func(s *State) bool { return near(s) && s.Status != Panic })
	switch {
	case len(all) == 0:
		return all, ""
	case len(targets) == 0:
		return all, fmt.Sprintf("%s: no instance %s is well, so all %d are used", r.Service.Locality, where, len(all))
	}
	return targets, fmt.Sprintf("%s: %d of %d instances are %s and take all of its connections", r.Service.Locality, len(targets), len(all), where)
}

// preference says which instances a place prefers, in words too; nil: none, and why.
func (r *Resolved) preference(at Place) (near func(*State) bool, where string) {
	switch {
	case r.Service.Locality == LocalityNode && at.Node == "", r.Service.Locality == LocalityZone && at == Place{}:
		return nil, fmt.Sprintf("%s: every node decides for itself, and none is named", r.Service.Locality)
	case r.Service.Locality == LocalityNode:
		return func(s *State) bool { return s.Node == at.Node }, "on node " + at.Node
	case r.Service.Locality == LocalityZone && at.Zone == "":
		return nil, fmt.Sprintf("%s: node %s has no label %q, so all instances are used", LocalityZone, at.Node, ZoneLabel)
	case r.Service.Locality == LocalityZone:
		return func(s *State) bool { return s.Zone == at.Zone }, "in zone " + at.Zone
	}
	return nil, ""
}

// Misplaced is what is wrong with preferring near instances at a place, or nil.
func (r *Resolved) Misplaced(at Place) []Problem {
	if r.Service.Locality != LocalityZone || at.Node == "" || at.Zone != "" {
		return nil
	}
	_, why := r.preference(at)
	return []Problem{{"service " + r.Service.Name, "locality", why, fmt.Sprintf("start the agent with --label %s=NAME", ZoneLabel)}}
}

// On are the addresses that the service's instances listen on at a node, whether they take traffic or not.
func (r *Resolved) On(node string) (out []Listener) {
	for _, s := range r.Instances {
		if node == "" || s.Node != node || s.Status == Refused || s.Status == Duplicate {
			continue
		}
		for _, port := range r.Service.Ports {
			if address, ok := s.Instance.Target(port); ok {
				out = append(out, Listener{address, port.Protocol})
			}
		}
	}
	return out
}

// Listener is what an instance listens on.
type Listener struct {
	Address netip.AddrPort
	Proto   Proto
}

// Compare orders listeners by address, port, protocol.
func (l Listener) Compare(m Listener) int {
	return Frontend{l.Address.Addr(), l.Proto, l.Address.Port()}.Compare(Frontend{m.Address.Addr(), m.Proto, m.Address.Port()})
}

// String is IP:PORT for TCP, and IP:PORT/PROTO otherwise.
func (l Listener) String() string {
	return Frontend{l.Address.Addr(), l.Proto, l.Address.Port()}.String()
}
