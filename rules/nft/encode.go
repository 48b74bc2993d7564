package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Keys and data are the packets' own bytes, each field padded to four; only the slot, which the kernel makes itself, is
// in host order.

func frontendKey(f cluster.Frontend) []byte {
	key := make([]byte, 0, 40)
	key = append(key, f.VIP.AsSlice()...)
	key = append(key, byte(f.Proto), 0, 0, 0)
	return append(key, byte(f.Port>>8), byte(f.Port), 0, 0)
}

func slotKey(f cluster.Frontend, slot int) []byte {
	return binary.NativeEndian.AppendUint32(frontendKey(f), uint32(slot))
}

func targetData(t netip.AddrPort) []byte {
	data := make([]byte, 0, 20)
	data = append(data, t.Addr().AsSlice()...)
	return append(data, byte(t.Port()>>8), byte(t.Port()), 0, 0)
}

// shardOf spreads frontends over the endpoint maps by FNV-1a of the key: fixed for all versions of the program, since a
// new version must find what an old one wrote.
func shardOf(f cluster.Frontend) int {
	h := uint32(2166136261)
	for _, b := range frontendKey(f) {
		h = (h ^ uint32(b)) * 16777619
	}
	return int((h ^ h>>16) % shards)
}

// verdict is the element of the services or the guards map that leads a frontend somewhere.
func verdict(f cluster.Frontend, lead rules.Lead) nftables.SetElement {
	return nftables.SetElement{Key: frontendKey(f), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chainFor(f, lead)}}
}

func chainFor(f cluster.Frontend, lead rules.Lead) string {
	switch {
	case lead.Guard:
		return "guarded"
	case lead.Size > 0:
		return balancerName(shardOf(f), lead.Mode, lead.Size)
	case lead.Mode == rules.Hold:
		return holdName
	}
	return "no-endpoint"
}

// listenerKey is in the form of a frontend's: address, protocol, port.
func listenerKey(l cluster.Listener) []byte {
	return frontendKey(cluster.Frontend{VIP: l.Address.Addr(), Proto: l.Proto, Port: l.Address.Port()})
}

// sourceElement is how the sources set holds a prefix that may connect to a frontend. A delete must name exactly what was
// added: one inside of it would silently take it all away.
func sourceElement(f cluster.Frontend, p netip.Prefix) nftables.SetElement {
	return nftables.SetElement{Key: append(frontendKey(f), p.Addr().AsSlice()...), KeyEnd: append(frontendKey(f), lastOf(p).AsSlice()...)}
}

// elements are how a set holds a prefix.
func (s setSpec) elements(p netip.Prefix) []nftables.SetElement {
	first, last := p.Addr().AsSlice(), lastOf(p).AsSlice()
	switch {
	case len(s.key) == 2 && s.flags&interval != 0:
		return []nftables.SetElement{{Key: append(first, first...), KeyEnd: append(last, last...)}}
	case len(s.key) == 2:
		return []nftables.SetElement{{Key: append(first, first...)}}
	case s.flags&interval == 0:
		return []nftables.SetElement{{Key: first}}
	}
	elements := []nftables.SetElement{{Key: first}}
	if end := lastOf(p).Next(); end.IsValid() {
		elements = append(elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
	}
	return elements
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

func concat(types []nftables.SetDatatype) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0]
	}
	return nftables.MustConcatSetType(types...)
}

// set is the specification in the library's terms.
func (s setSpec) set(table *nftables.Table) *nftables.Set {
	out := &nftables.Set{
		Table: table, Name: s.name, KeyType: concat(s.key), Counter: s.flags&counter != 0,
		Dynamic: s.flags&dynamic != 0, Size: s.size, HasTimeout: s.timeout > 0, Timeout: s.timeout,
		Interval: s.flags&interval != 0, Concatenation: s.flags&interval != 0 && len(s.key) > 1,
	}
	if len(s.data) > 0 {
		out.IsMap, out.DataType = true, concat(s.data)
	}
	return out
}

// chain is the specification in the library's terms.
func (c chainSpec) chain(table *nftables.Table) *nftables.Chain {
	out := &nftables.Chain{Table: table, Name: c.name}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept
		out.Type, out.Hooknum, out.Priority, out.Policy = c.hook.kind, &c.hook.num, &c.hook.priority, &policy
	}
	return out
}
