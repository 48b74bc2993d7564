package ipt

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// maxSlots bounds what is believed of a listing: no balancer of ours is as large.
const maxSlots = 1 << 16

// listing is one table as iptables-save prints it: rules by chain, without "-A CHAIN". Chains of ours that are empty are
// in it; of other chains only those that we hook into.
type listing map[string][]string

// parseListing reads the lines of iptables-save. Rules of other programs' chains are passed over unread.
func parseListing(table, text string) listing {
	out := listing{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, ":"); ok {
			if name, _, _ = strings.Cut(name, " "); strings.HasPrefix(name, ours) || builtin(table, name) {
				out[name] = nil
			}
			continue
		}
		rest, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		name, rule, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(name, ours) || builtin(table, name) {
			out[name] = append(out[name], rule)
		}
	}
	return out
}

var (
	entryForm  = regexp.MustCompile(`^-d (\S+)/\d+ -p (\S+) -m \S+ --dport (\d+) -j (WEIR-F-\S+)$`)
	otherForm  = regexp.MustCompile(`^-d (\S+) -j WEIR-OTHER$`)
	randomForm = regexp.MustCompile(`^-p \S+ -m comment --comment "(\d+) of \d+" .*-j DNAT --to-destination (\S+)$`)
	targetForm = regexp.MustCompile(`-j DNAT --to-destination (\S+)$`)
	branchForm = regexp.MustCompile(`-g (WEIR-F-\S+)$`)
	maskForm   = regexp.MustCompile(`--cluster-local-nodemask 0x([0-9a-f]{8}) --cluster-total-nodes (\d+) `)
	pairForm   = regexp.MustCompile(`^-s (\S+)( -d \S+)? -j (RETURN|MASQUERADE --random-fully)$`)
)

// parseEntry reads a rule that leads to a frontend's chain. It must be the very rule that we would write.
func (f *family) parseEntry(rule string) (cluster.Frontend, bool) {
	m := entryForm.FindStringSubmatch(rule)
	if m == nil {
		return cluster.Frontend{}, false
	}
	vip, err := netip.ParseAddr(m[1])
	if err != nil || !f.has(vip) {
		return cluster.Frontend{}, false
	}
	proto, err := cluster.ParseProto(m[2])
	if err != nil {
		return cluster.Frontend{}, false
	}
	port, err := strconv.ParseUint(m[3], 10, 16)
	frontend := cluster.Frontend{VIP: vip, Proto: proto, Port: uint16(port)}
	return frontend, err == nil && entryOf(frontend) == rule
}

// parseVIP reads a rule that refuses what is no frontend of a VIP.
func (f *family) parseVIP(rule string) (netip.Prefix, bool) {
	m := otherForm.FindStringSubmatch(rule)
	if m == nil {
		return netip.Prefix{}, false
	}
	return f.parsePrefix(m[1])
}

func (f *family) parsePrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	return p, err == nil && f.has(p.Addr()) && p == p.Masked()
}

// parseSet reads a chain that holds a set. What it does not understand is left out; the caller compares.
func (f *family) parseSet(have []string) (out []netip.Prefix) {
	for _, rule := range have {
		if m := pairForm.FindStringSubmatch(rule); m != nil {
			if p, ok := f.parsePrefix(m[1]); ok && !slices.ContainsFunc(out, p.Overlaps) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// placement reads the chains of a frontend. What does not read back as exactly what we would write is Unknown.
func (l listing) placement(f cluster.Frontend) rules.Placement {
	name := chainOf(f)
	p, err := l.guess(name)
	if err != nil {
		return rules.Placement{Mode: rules.Unknown}
	}
	for _, b := range bodies(f, p) {
		if have, ok := l[b.chain]; !ok || !slices.Equal(have, b.rules) {
			return rules.Placement{Mode: rules.Unknown}
		}
	}
	return p
}

// guess is what the chain seems to say; whether it says so exactly, the caller finds out.
func (l listing) guess(name string) (rules.Placement, error) {
	have := l[name]
	switch {
	case len(have) == 1 && have[0] == "-g WEIR-NO-ENDPOINT":
		return rules.Placement{Mode: rules.Refuse}, nil
	case len(have) > 0 && strings.Contains(have[0], "--comment"):
		return guessRandom(have)
	}
	slots, err := l.guessTree(name, 0)
	return rules.Placement{Mode: rules.Source, Size: len(slots), Slots: slots}, err
}

func guessRandom(have []string) (rules.Placement, error) {
	p := rules.Placement{Mode: rules.Random}
	for _, rule := range have {
		m := randomForm.FindStringSubmatch(rule)
		if m == nil {
			return p, fmt.Errorf("not a rule of ours: %s", rule)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxSlots-len(p.Slots) {
			return p, fmt.Errorf("slots beyond belief: %s", rule)
		}
		target, err := netip.ParseAddrPort(m[2])
		if err != nil {
			return p, err
		}
		p.Slots = append(p.Slots, slices.Repeat([]netip.AddrPort{target}, n)...)
	}
	p.Size = len(p.Slots)
	return p, nil
}

// guessTree reads a chain of a tree and those below it.
func (l listing) guessTree(name string, level int) ([]netip.AddrPort, error) {
	have := l[name]
	if len(have) == 0 || level > 8 {
		return nil, fmt.Errorf("chain %s is empty or missing", name)
	}
	if branchForm.MatchString(have[0]) {
		var parts [][]netip.AddrPort
		for _, rule := range have {
			m := branchForm.FindStringSubmatch(rule)
			if m == nil || m[1] != branchOf(name, len(parts), level) {
				return nil, fmt.Errorf("chain %s holds another rule: %s", name, rule)
			}
			part, err := l.guessTree(m[1], level+1)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		}
		return deal(parts)
	}
	return guessLeaf(have)
}

// deal is the opposite of split.
func deal(parts [][]netip.AddrPort) (out []netip.AddrPort, err error) {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	for i := range n {
		part := parts[i%len(parts)]
		if i/len(parts) >= len(part) {
			return nil, fmt.Errorf("parts of %d slots are not even", n)
		}
		out = append(out, part[i/len(parts)])
	}
	return out, nil
}

func guessLeaf(have []string) ([]netip.AddrPort, error) {
	var slots []netip.AddrPort
	for _, rule := range have {
		to, part := targetForm.FindStringSubmatch(rule), maskForm.FindStringSubmatch(rule)
		if to == nil || part == nil {
			return nil, fmt.Errorf("not a rule of ours: %s", rule)
		}
		target, err := netip.ParseAddrPort(to[1])
		if err != nil {
			return nil, err
		}
		mask, _ := strconv.ParseUint(part[1], 16, 32)
		size, err := strconv.Atoi(part[2])
		if err != nil || size > fanOut || slots != nil && len(slots) != size {
			return nil, fmt.Errorf("parts beyond belief: %s", rule)
		}
		if slots == nil {
			slots = make([]netip.AddrPort, size)
		}
		for i := range slots {
			if mask>>i&1 == 1 {
				slots[i] = target
			}
		}
	}
	return slots, nil
}
