package nft

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// maxSlot bounds what is believed of a listing: no balancer of ours is as large, so an element beyond it is foreign.
const maxSlot = 1 << 16

// parseFrontend reads the first fields of a key. Padding that is not zero makes it another key than ours, which could not
// be deleted by the one that we would write.
func (f *family) parseFrontend(key []byte) (cluster.Frontend, bool) {
	n := int(f.addrLen)
	if len(key) < n+8 {
		return cluster.Frontend{}, false
	}
	addr, _ := netip.AddrFromSlice(key[:n])
	frontend := cluster.Frontend{VIP: addr, Proto: cluster.Proto(key[n]), Port: binary.BigEndian.Uint16(key[n+4:])}
	return frontend, key[n+1]|key[n+2]|key[n+3]|key[n+6]|key[n+7] == 0
}

// parseSlot reads a key of an endpoint map.
func (f *family) parseSlot(key []byte) (cluster.Frontend, int, bool) {
	frontend, ok := f.parseFrontend(key)
	if !ok || len(key) != int(f.addrLen)+12 {
		return cluster.Frontend{}, 0, false
	}
	slot := binary.NativeEndian.Uint32(key[f.addrLen+8:])
	return frontend, int(slot), slot < maxSlot
}

func (f *family) parseTarget(data []byte) (netip.AddrPort, bool) {
	n := int(f.addrLen)
	if len(data) < n+2 {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice(data[:n])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(data[n:])), true
}

// parseSource reads an element of the sources set.
func (f *family) parseSource(e nftables.SetElement) (cluster.Frontend, netip.Prefix, bool) {
	n := int(f.addrLen) + 8
	if len(e.Key) != n+int(f.addrLen) || len(e.KeyEnd) != len(e.Key) || !slices.Equal(e.Key[:n], e.KeyEnd[:n]) {
		return cluster.Frontend{}, netip.Prefix{}, false
	}
	frontend, ok := f.parseFrontend(e.Key)
	first, _ := netip.AddrFromSlice(e.Key[n:])
	last, _ := netip.AddrFromSlice(e.KeyEnd[n:])
	p, whole := prefixOf(first, last)
	return frontend, p, ok && whole
}

// parseLead reads the verdict of an element of the services or the guards map.
func parseLead(f cluster.Frontend, verdict []byte) rules.Lead {
	chain := chainOf(verdict)
	switch chain {
	case "no-endpoint":
		return rules.Lead{Mode: rules.Refuse}
	case holdName:
		return rules.Lead{Mode: rules.Hold}
	case "guarded":
		return rules.Lead{Guard: true}
	}
	shard, mode, size, ok := parseBalancer(chain)
	if !ok || shard != shardOf(f) {
		return rules.Lead{Mode: rules.Unknown}
	}
	return rules.Lead{Mode: mode, Size: size}
}

// chainOf is the chain that a verdict goes to, or "".
func chainOf(verdict []byte) string {
	ad, err := netlink.NewAttributeDecoder(verdict)
	if err != nil {
		return ""
	}
	ad.ByteOrder = binary.BigEndian
	chain, kind := "", int32(0)
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			kind = int32(ad.Uint32())
		case unix.NFTA_VERDICT_CHAIN:
			chain = ad.String()
		}
	}
	if ad.Err() != nil || kind != unix.NFT_GOTO {
		return ""
	}
	return chain
}

func listenerOf(f cluster.Frontend) cluster.Listener {
	return cluster.Listener{Address: netip.AddrPortFrom(f.VIP, f.Port), Proto: f.Proto}
}

// parseLayout reads layout-N.
func parseLayout(chain string) (n int, ok bool) {
	_, err := fmt.Sscanf(chain, "layout-%d", &n)
	return n, err == nil && chain == layoutName(n)
}

// parseBalancer reads lb-SHARD-SIZE or lbh-SHARD-SIZE.
func parseBalancer(chain string) (shard int, mode rules.Mode, size int, ok bool) {
	for _, mode := range []rules.Mode{rules.Random, rules.Source} {
		prefix, _, _ := strings.Cut(balancerName(0, mode, 0), "0")
		rest, found := strings.CutPrefix(chain, prefix)
		if !found {
			continue
		}
		_, err := fmt.Sscanf(rest, "%d-%d", &shard, &size)
		exact := chain == balancerName(shard, mode, size)
		return shard, mode, size, err == nil && exact && shard >= 0 && shard < shards && size > 0 && size < maxSlot
	}
	return 0, 0, 0, false
}

// prefixes reads the elements of a set. It fails if they are no prefixes: then somebody else wrote one.
func (s setSpec) prefixes(elements []nftables.SetElement) (out []netip.Prefix, err error) {
	for _, e := range elements {
		if len(e.Key) != len(s.key)*int(s.key[0].Bytes) {
			return nil, fmt.Errorf("a key of %d bytes", len(e.Key))
		}
	}
	read := intervals
	switch {
	case len(s.key) == 2:
		read = pairs
	case s.flags&interval == 0:
		read = hosts
	}
	first, last, err := read(elements)
	if err != nil {
		return nil, err
	}
	for i := range first {
		p, ok := prefixOf(first[i], last[i])
		if !ok {
			return nil, fmt.Errorf("%s-%s is no prefix", first[i], last[i])
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return out, nil
}

// pairs reads (range . same range), or (address . same address).
func pairs(elements []nftables.SetElement) (first, last []netip.Addr, err error) {
	for _, e := range elements {
		half, end := len(e.Key)/2, e.KeyEnd
		if end == nil {
			end = e.Key
		}
		if len(end) != len(e.Key) || !slices.Equal(e.Key[:half], e.Key[half:]) || !slices.Equal(end[:half], end[half:]) {
			return nil, nil, fmt.Errorf("a pair of two different ranges")
		}
		from, _ := netip.AddrFromSlice(e.Key[:half])
		to, _ := netip.AddrFromSlice(end[:half])
		first, last = append(first, from), append(last, to)
	}
	return first, last, nil
}

// hosts reads single addresses.
func hosts(elements []nftables.SetElement) (first, last []netip.Addr, err error) {
	for _, e := range elements {
		addr, _ := netip.AddrFromSlice(e.Key)
		first, last = append(first, addr), append(last, addr)
	}
	return first, last, nil
}

// intervals pairs the starts and ends of an interval set; nft's own start of everything, an end at zero, is left out.
func intervals(elements []nftables.SetElement) (first, last []netip.Addr, err error) {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		if order := slices.Compare(a.Key, b.Key); order != 0 {
			return order
		}
		if a.IntervalEnd { // an interval ends before the next begins at the same key
			return -1
		}
		return 1
	})
	for _, e := range elements {
		addr, ok := netip.AddrFromSlice(e.Key)
		open := len(first) > len(last)
		switch {
		case !ok || open != e.IntervalEnd && !(e.IntervalEnd && addr.IsUnspecified()):
			return nil, nil, fmt.Errorf("intervals that do not close")
		case !e.IntervalEnd:
			first = append(first, addr)
		case open:
			last = append(last, addr.Prev())
		}
	}
	if len(first) > len(last) {
		all := netip.PrefixFrom(first[len(first)-1], 0)
		last = append(last, lastOf(all))
	}
	return first, last, nil
}

func prefixOf(first, last netip.Addr) (netip.Prefix, bool) {
	for bits := first.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(first, bits)
		if p.Masked() != p {
			return p, false
		}
		if end := lastOf(p); end == last {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// sameRule compares a rule of the kernel with ours, without what the kernel counts or numbers.
func sameRule(have []expr.Any, want rule) bool {
	return slices.EqualFunc(have, want.exprs, func(a, b expr.Any) bool { return reflect.DeepEqual(essence(a), essence(b)) })
}

func essence(e expr.Any) expr.Any {
	switch e := e.(type) {
	case *expr.Counter:
		return &expr.Counter{}
	case *expr.Lookup:
		c := *e
		c.SetID = 0
		return &c
	case *expr.Dynset: // that it counts is the set's word
		c := *e
		c.SetID, c.Exprs = 0, nil
		return &c
	case *expr.Ct: // the library does not read the direction back
		c := *e
		c.Direction, c.OptDirection = 0, false
		return &c
	}
	return e
}

// sameSet compares a set of the kernel with ours.
func sameSet(have *nftables.Set, want setSpec) bool {
	w := want.set(nil)
	if have.KeyType.Bytes != w.KeyType.Bytes || have.Interval != w.Interval || have.Concatenation != w.Concatenation || have.IsMap != w.IsMap || have.HasTimeout != w.HasTimeout || have.Timeout != w.Timeout || have.Dynamic != w.Dynamic || have.Size != w.Size {
		return false
	}
	return !w.IsMap || have.DataType.Name == w.DataType.Name
}

// sameHook compares what a chain hooks into.
func sameHook(have *nftables.Chain, want *hook) bool {
	if want == nil {
		return have.Hooknum == nil
	}
	return have.Hooknum != nil && have.Priority != nil && have.Type == want.kind && *have.Hooknum == want.num &&
		*have.Priority == want.priority && have.Policy != nil && *have.Policy == nftables.ChainPolicyAccept
}
