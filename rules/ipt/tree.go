package ipt

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// tree is how source affinity finds the target of a client: chains that each ask a few bits of what stands for its
// address. Which target stands at the end is a matter of that and the shares alone, so all nodes agree.
//
// For IPv4 the bits are those of hashes (xt_cluster), with another seed at each level. For IPv6 they are the last ones of
// the address itself: xt_cluster (Linux 6.18 and before) hashes only the first 32 bits of an IPv6 address, so that all
// clients of a site would be one.
type tree struct {
	f     cluster.Frontend
	root  string
	table []netip.AddrPort
	sum   int // of all shares' slots
	slots map[netip.AddrPort]int
}

func newTree(f cluster.Frontend, root string, shares []rules.Share) *tree {
	t := &tree{f: f, root: root, table: tableOf(shares), slots: map[netip.AddrPort]int{}}
	for _, s := range shares {
		t.slots[s.Target] = s.Slots
		t.sum += s.Slots
	}
	return t
}

// tableOf is who stands at the end of each way. Its size is a power of four, and at least ten times the targets.
func tableOf(shares []rules.Share) []netip.AddrPort {
	size := 256
	for size < 10*len(shares) {
		size *= 4
	}
	return rules.AffinityTable(shares, size)
}

// width is how many bits a chain asks. Of hashes two: iptables (1.8.9 and others) does not read back a mask of xt_cluster
// above 32, and then no listing of the host could be restored any more.
func width(v4 bool) int {
	if v4 {
		return 2
	}
	return 4
}

// bodies are the chains of the tree, the root first.
func (t *tree) bodies() []body { return t.below(t.root, 0, 0) }

// below are the chains for those clients of whom so many bits are known.
func (t *tree) below(name string, bucket, known int) []body {
	all := bits.Len(uint(len(t.table) - 1))
	width := min(width(t.f.VIP.Is4()), all-known)
	if known+width == all {
		return []body{{name, t.leaf(bucket, known, width)}}
	}
	root, out := body{chain: name}, []body(nil)
	for value := range 1 << width {
		branch := fmt.Sprintf("%s%x", name, value)
		if known == 0 {
			branch = fmt.Sprintf("%s-%x", name, value)
		}
		source, match := t.ask([]int{value}, known, width)
		root.rules = append(root.rules, source+match+"-g "+branch)
		out = append(out, t.below(branch, bucket|value<<known, known+width)...)
	}
	return append([]body{root}, out...)
}

// leaf leads to targets. The comment says how many of how many slots a target has, which is what the table follows from.
func (t *tree) leaf(bucket, known, width int) (out []string) {
	var order []netip.AddrPort
	values := map[netip.AddrPort][]int{}
	for value := range 1 << width {
		target := t.table[bucket|value<<known]
		if !slices.Contains(order, target) {
			order = append(order, target)
		}
		values[target] = append(values[target], value)
	}
	for _, target := range order {
		ways := [][]int{values[target]}
		if !t.f.VIP.Is4() { // a rule matches one value of the last bits
			ways = slices.Collect(slices.Chunk(values[target], 1))
		}
		for _, way := range ways {
			source, match := t.ask(way, known, width)
			out = append(out, fmt.Sprintf("%s-p %s %s%s-j DNAT --to-destination %s", source, t.f.Proto, shareComment(t.slots[target], t.sum), match, target))
		}
	}
	return out
}

// ask matches clients whose next bits have one of these values: by source address, or by a match.
func (t *tree) ask(values []int, known, width int) (source, match string) {
	if !t.f.VIP.Is4() {
		return fmt.Sprintf("-s %s/%s ", endingWith(values[0]<<known), endingWith((1<<width-1)<<known)), ""
	}
	mask := 0
	for _, value := range values {
		mask |= 1 << value
	}
	return "", fmt.Sprintf("-m cluster --cluster-local-nodemask 0x%08x --cluster-total-nodes %d --cluster-hash-seed 0x%08x ", mask, 1<<width, seedAt(known, width))
}

func seedAt(known, width int) uint32 { return rules.SourceSeed + uint32(known/width) }

// endingWith is the IPv6 address that ends with these bits.
func endingWith(value int) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint32(a[12:], uint32(value))
	return netip.AddrFrom16(a)
}

// slotOf is the slot of a placement that a client is led to.
func slotOf(p rules.Placement, client netip.Addr) int {
	if !client.IsValid() {
		return 0
	}
	table := tableOf(p.Shares())
	bucket := 0
	if client.Is4() {
		for known := 0; 1<<known < len(table); known += width(true) {
			bucket |= rules.SourcePart(client, seedAt(known, width(true)), 1<<width(true)) << known
		}
	} else {
		bucket = int(binary.BigEndian.Uint32(client.AsSlice()[12:])) % len(table)
	}
	return slices.Index(p.Slots, table[bucket])
}
