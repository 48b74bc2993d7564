package ipt

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// What is believed of a listing: no balancer of ours is as large.
const (
	maxSlots   = 1 << 16
	maxTargets = 4096
)

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
	entryForm    = regexp.MustCompile(`^-d (\S+)/\d+ -p (\S+) -m \S+ --dport (\d+) -j WEIR-F-\S+$`)
	listenerForm = regexp.MustCompile(`^-d (\S+)/\d+ -p (\S+) -m \S+ --dport (\d+)$`)
	otherForm    = regexp.MustCompile(`^-d (\S+) -j WEIR-OTHER$`)
	sourceForm   = regexp.MustCompile(`^-s (\S+) -g WEIR-T-\S+$`)
	shareForm    = regexp.MustCompile(`^(?:-s \S+ )?-p \S+ -m comment --comment "(\d+) of \d+" .*-j DNAT --to-destination (\S+)$`)
	setForm      = regexp.MustCompile(`^-[sd] (\S+)( -d \S+)? -j (RETURN|REDIRECT|MASQUERADE --random-fully)$`)
)

// parseEntry reads a rule that leads to a frontend's chain. It must be the very rule that we would write.
func (f *family) parseEntry(rule string) (cluster.Frontend, bool) {
	m := entryForm.FindStringSubmatch(rule)
	if m == nil {
		return cluster.Frontend{}, false
	}
	frontend, ok := f.parseFrontend(m)
	return frontend, ok && entryOf(frontend) == rule
}

// parseFrontend reads address, protocol and port of a match of a form.
func (f *family) parseFrontend(m []string) (cluster.Frontend, bool) {
	a, err := netip.ParseAddr(m[1])
	proto, unknown := cluster.ParseProto(m[2])
	port, far := strconv.ParseUint(m[3], 10, 16)
	return cluster.Frontend{VIP: a, Proto: proto, Port: uint16(port)}, err == nil && unknown == nil && far == nil && f.has(a)
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
		if m := setForm.FindStringSubmatch(rule); m != nil {
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
	p, err := l.guess(f)
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

// guess is what the chains seem to say; whether they say so exactly, the caller finds out.
func (l listing) guess(f cluster.Frontend) (rules.Placement, error) {
	p := rules.Placement{}
	have, name := l[chainOf(f)], chainOf(f)
	if n := len(have); n > 0 && have[n-1] == "-g WEIR-REFUSED" {
		p.Guarded, name = true, behindGuard(f)
		for _, rule := range have[:n-1] {
			source, err := familyOf(f.VIP).parseSource(rule)
			if err != nil {
				return p, err
			}
			p.Sources = append(p.Sources, source)
		}
	}
	have = l[name]
	switch {
	case len(have) == 0:
		return p, fmt.Errorf("chain %s is empty or missing", name)
	case len(have) == 1 && have[0] == "-g WEIR-NO-ENDPOINT":
		p.Mode = rules.Refuse
		return p, nil
	case have[len(have)-1] == "-g WEIR-HOLD":
		p.Mode = rules.Hold
		return p, nil
	case shareForm.MatchString(have[0]) && !strings.Contains(have[0], "-m cluster"):
		p.Mode = rules.Random
	default:
		p.Mode = rules.Source
	}
	return p, l.shares(name, &p)
}

// shares gathers what the comments of a frontend's rules say, in the order of the targets.
func (l listing) shares(name string, p *rules.Placement) error {
	slots := map[netip.AddrPort]int{}
	for chain, have := range l {
		if chain != name && !(p.Mode == rules.Source && strings.HasPrefix(chain, name+"-")) {
			continue
		}
		for _, rule := range have {
			m := shareForm.FindStringSubmatch(rule)
			if m == nil {
				continue
			}
			target, err := netip.ParseAddrPort(m[2])
			n, wrong := strconv.Atoi(m[1])
			if err != nil || wrong != nil || n < 1 || n > maxSlots {
				return fmt.Errorf("beyond belief: %s", rule)
			}
			slots[target] = n
		}
	}
	if len(slots) == 0 || len(slots) > maxTargets {
		return fmt.Errorf("chain %s leads to %d targets", name, len(slots))
	}
	for _, target := range slices.SortedFunc(maps.Keys(slots), netip.AddrPort.Compare) {
		if p.Size += slots[target]; p.Size > maxSlots {
			return fmt.Errorf("%d slots are beyond belief", p.Size)
		}
		p.Slots = append(p.Slots, slices.Repeat([]netip.AddrPort{target}, slots[target])...)
	}
	return nil
}

func (f *family) parseSource(rule string) (netip.Prefix, error) {
	if strings.HasPrefix(rule, "-g ") {
		return netip.PrefixFrom(f.lastBits(0), 0), nil
	}
	m := sourceForm.FindStringSubmatch(rule)
	if m == nil {
		return netip.Prefix{}, fmt.Errorf("not a rule of ours: %s", rule)
	}
	return netip.ParsePrefix(m[1])
}

// parseListener reads a rule that counts an instance of this node.
func (f *family) parseListener(rule string) (cluster.Listener, bool) {
	m := listenerForm.FindStringSubmatch(rule)
	if m == nil {
		return cluster.Listener{}, false
	}
	frontend, ok := f.parseFrontend(m)
	l := cluster.Listener{Address: netip.AddrPortFrom(frontend.VIP, frontend.Port), Proto: frontend.Proto}
	return l, ok && listenerRule(l) == rule
}
