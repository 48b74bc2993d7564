package ipt

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"math"
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

// keyOf stands for a frontend in the names of its chains: 65 bits of a hash of it, fixed for all versions of the program,
// since a new version must find what an old one wrote.
func keyOf(f cluster.Frontend) string {
	port := []byte{byte(f.Proto), byte(f.Port >> 8), byte(f.Port)}
	sum := sha256.Sum256(append(f.VIP.AsSlice(), port...))
	return strings.ToLower(encoding.EncodeToString(sum[:])[:13])
}

// chainOf is the name of a frontend's chain. A name has at most 28 characters; the branches of a tree add to it.
func chainOf(f cluster.Frontend) string { return "WEIR-F-" + keyOf(f) }

// behindGuard is the name of the chain that a guarded frontend's clients reach who are let pass.
func behindGuard(f cluster.Frontend) string { return "WEIR-T-" + keyOf(f) }

// entryOf is the rule that leads to a frontend's chain.
func entryOf(f cluster.Frontend) string {
	return fmt.Sprintf("-d %s/%d -p %s -m %s --dport %d -j %s", f.VIP, f.VIP.BitLen(), f.Proto, f.Proto, f.Port, chainOf(f))
}

// bodies are the chains that put a placement in force, the one that the entry leads to first.
func bodies(f cluster.Frontend, p rules.Placement) []body {
	name := chainOf(f)
	if !p.Guarded {
		return targets(f, name, p)
	}
	guard := body{chain: name}
	for _, source := range p.Sources {
		guard.rules = append(guard.rules, fmt.Sprintf("-s %s -g %s", source, behindGuard(f)))
	}
	if n := len(p.Sources); n > 0 && p.Sources[n-1].Bits() == 0 { // iptables does not print a match of everybody
		guard.rules[n-1] = "-g " + behindGuard(f)
	}
	guard.rules = append(guard.rules, "-g WEIR-REFUSED")
	return append([]body{guard}, targets(f, behindGuard(f), p)...)
}

// targets are the chains that choose a target.
func targets(f cluster.Frontend, name string, p rules.Placement) []body {
	switch p.Mode {
	case rules.Refuse:
		return []body{{name, []string{"-g WEIR-NO-ENDPOINT"}}}
	case rules.Hold:
		return []body{{name, []string{tellRule, "-g WEIR-HOLD"}}}
	case rules.Random:
		return []body{{name, randomRules(f.Proto, p.Shares())}}
	case rules.Source:
		return newTree(f, name, p.Shares()).bodies()
	}
	return []body{{chain: name}}
}

// tellRule tells the agent of a connection that is held. It stands in the frontend's own chain, so that each frontend has a
// limit of its own, and so that a kernel without what it needs (xt_NFLOG, xt_limit) lacks nothing else.
var tellRule = fmt.Sprintf("-m limit --limit 1/sec --limit-burst 1 -j NFLOG --nflog-prefix %s --nflog-group %d --nflog-size %d --nflog-threshold 1",
	rules.WakePrefix, rules.WakeGroup, rules.WakeSnaplen)

// randomRules draw a target by its share: rule k of n has the chance w_k / (w_k + ... + w_n), the last one the rest.
func randomRules(proto cluster.Proto, shares []rules.Share) (out []string) {
	sum := 0
	for _, s := range shares {
		sum += s.Slots
	}
	left := sum
	for i, s := range shares {
		rule := fmt.Sprintf("-p %s %s", proto, shareComment(s.Slots, sum))
		if i < len(shares)-1 {
			rule += "-m statistic --mode random --probability " + probability(s.Slots, left) + " "
		}
		out = append(out, rule+"-j DNAT --to-destination "+s.Target.String())
		left -= s.Slots
	}
	return out
}

// shareComment says how many of how many slots a target has: the probability alone does not tell for large numbers, and
// counts from what the rules before it left.
func shareComment(slots, sum int) string {
	return fmt.Sprintf(`-m comment --comment "%d of %d" `, slots, sum)
}

// probability is a fraction as the kernel holds it, in parts of 2^31, and as iptables prints that.
func probability(part, whole int) string {
	const unit = 1 << 31
	return fmt.Sprintf("%.11f", math.RoundToEven(float64(part)/float64(whole)*unit)/unit)
}

// listenerRule counts the new connections of an instance of this node, and does nothing else.
func listenerRule(l cluster.Listener) string {
	a := l.Address.Addr()
	return fmt.Sprintf("-d %s/%d -p %s -m %s --dport %d", a, a.BitLen(), l.Proto, l.Proto, l.Address.Port())
}
