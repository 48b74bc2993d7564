package ipt

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// body is the rules of one chain.
type body struct {
	chain string
	rules []string
}

var encoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// chainOf is the name of a frontend's chain: 65 bits of a hash of it, fixed for all versions of the program, since a new
// version must find what an old one wrote. A name has at most 28 characters; the levels of a tree are added to it.
func chainOf(f cluster.Frontend) string {
	port := []byte{byte(f.Proto), byte(f.Port >> 8), byte(f.Port)}
	sum := sha256.Sum256(append(f.VIP.AsSlice(), port...))
	return "WEIR-F-" + strings.ToLower(encoding.EncodeToString(sum[:])[:13])
}

// entryOf is the rule that leads to a frontend's chain.
func entryOf(f cluster.Frontend) string {
	return fmt.Sprintf("-d %s/%d -p %s -m %s --dport %d -j %s", f.VIP, f.VIP.BitLen(), f.Proto, f.Proto, f.Port, chainOf(f))
}

// bodies are the chains that put a placement in force, the one that the entry leads to first.
func bodies(f cluster.Frontend, p rules.Placement) []body {
	name := chainOf(f)
	switch p.Mode {
	case rules.Refuse:
		return []body{{name, []string{"-g WEIR-NO-ENDPOINT"}}}
	case rules.Random:
		return []body{{name, randomRules(f.Proto, p.Shares())}}
	case rules.Source:
		return tree(f.Proto, name, p.Slots[:p.Size], 0)
	}
	return []body{{chain: name}}
}

// randomRules draw a target by its share. The comment says how many of how many slots it has: the probability alone
// does not tell for large numbers, and counts from what the rules before it left.
func randomRules(proto cluster.Proto, shares []rules.Share) (out []string) {
	sum := 0
	for _, s := range shares {
		sum += s.Slots
	}
	left := sum
	for i, s := range shares {
		rule := fmt.Sprintf(`-p %s -m comment --comment "%d of %d"`, proto, s.Slots, sum)
		if i < len(shares)-1 {
			rule += " -m statistic --mode random --probability " + probability(s.Slots, left)
		}
		out = append(out, rule+" -j DNAT --to-destination "+s.Target.String())
		left -= s.Slots
	}
	return out
}

// probability is a fraction as the kernel holds it, in parts of 2^31, and as iptables prints that.
func probability(part, whole int) string {
	const unit = 1 << 31
	return fmt.Sprintf("%.11f", math.RoundToEven(float64(part)/float64(whole)*unit)/unit)
}

// fanOut is how many ways a chain of a tree leads. xt_cluster could tell 32 apart, but iptables (1.8.9 and others) does
// not read a mask above 32 back: then no listing of the host could be restored any more.
const fanOut = 5

// tree leads a client to the slot of its address's hash, alike on every node. The masks of a chain are disjoint and cover
// all parts, so nobody falls out.
func tree(proto cluster.Proto, name string, slots []netip.AddrPort, level int) []body {
	if len(slots) <= fanOut {
		return []body{{name, leafRules(proto, slots, level)}}
	}
	parts := min(fanOut, (len(slots)+fanOut-1)/fanOut)
	root, out := body{chain: name}, []body(nil)
	for part, inPart := range split(slots, parts) {
		branch := branchOf(name, part, level)
		root.rules = append(root.rules, hashed(1<<part, parts, level)+"-g "+branch)
		out = append(out, tree(proto, branch, inPart, level+1)...)
	}
	return append([]body{root}, out...)
}

// split deals slots out to parts, one after the other.
func split(slots []netip.AddrPort, parts int) [][]netip.AddrPort {
	out := make([][]netip.AddrPort, parts)
	for i, slot := range slots {
		out[i%parts] = append(out[i%parts], slot)
	}
	return out
}

func branchOf(name string, part, level int) string {
	if level == 0 {
		name += "-"
	}
	return fmt.Sprintf("%s%d", name, part)
}

func leafRules(proto cluster.Proto, slots []netip.AddrPort, level int) (out []string) {
	masks, order := map[netip.AddrPort]int{}, []netip.AddrPort(nil)
	for i, target := range slots {
		if masks[target] == 0 {
			order = append(order, target)
		}
		masks[target] |= 1 << i
	}
	for _, target := range order {
		out = append(out, fmt.Sprintf("-p %s %s-j DNAT --to-destination %s", proto, hashed(masks[target], len(slots), level), target))
	}
	return out
}

// hashed matches clients whose hash falls into some of several equal parts. Each level has a seed of its own.
func hashed(mask, parts, level int) string {
	return fmt.Sprintf("-m cluster --cluster-local-nodemask 0x%08x --cluster-total-nodes %d --cluster-hash-seed 0x%08x ", mask, parts, rules.SourceSeed+level)
}
