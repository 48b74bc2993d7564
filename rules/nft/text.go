package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Text is a ruleset as a file for `nft -f`, in the words and the order in which nft lists a fresh kernel that the driver
// wrote. It needs neither a kernel nor privileges. Both tables are always there, as in the kernel.
//
// Two things are written otherwise than they list, because nft does not load its own listing: the slot of an endpoint
// map has no plain type that nft reads back as a number, so the key is given by typeof; and elements come without their
// counters, which the map's own "counter" adds.
func Text(want *rules.Ruleset) string {
	changes := rules.Diff(rules.NewState(), want).Changes
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintf(&b, "table %s %s {\n%s}\n", f.name, tableName, strings.Join(append(f.setTexts(changes, want), f.chainTexts(changes)...), "\n"))
	}
	return b.String()
}

func (f *family) setTexts(changes []rules.Change, want *rules.Ruleset) (out []string) {
	held := f.elementTexts(changes)
	for _, l := range want.Local {
		if f.has(l.Address.Addr()) {
			text := fmt.Sprintf("%s . %s . %d", l.Address.Addr(), l.Proto, l.Address.Port())
			held["local"] = append(held["local"], elementText{text, listenerSortKey(l)})
		}
	}
	slices.SortFunc(held["local"], func(a, b elementText) int { return compareReversed(a.key, b.key) })
	for _, spec := range f.specs {
		if spec.holding {
			for _, p := range want.Sets[spec.ofSet] {
				if f.has(p.Addr()) {
					held[spec.name] = append(held[spec.name], elementText{spec.prefixText(p), nil})
				}
			}
		}
		out = append(out, spec.text(held[spec.name]))
	}
	return out
}

// elementText is an element, and what nft sorts it by.
type elementText struct {
	text string
	key  []byte
}

// elementTexts are the elements of the maps, by map. nft sorts hashed keys as numbers whose last byte counts most.
func (f *family) elementTexts(changes []rules.Change) map[string][]elementText {
	held := map[string][]elementText{}
	add := func(set, text string, key []byte) { held[set] = append(held[set], elementText{text, key}) }
	for _, c := range changes {
		if !f.has(c.Frontend.VIP) {
			continue
		}
		key, frontend := sortKey(c.Frontend), fmt.Sprintf("%s . %s . %d", c.Frontend.VIP, c.Frontend.Proto, c.Frontend.Port)
		add("services", frontend+" : goto "+chainFor(c.Frontend, c.Want.Entry()), key)
		if c.Want.Guarded {
			add("guards", frontend+" : goto "+chainFor(c.Frontend, c.Want.Guard()), key)
		}
		for _, p := range c.Want.Sources {
			add("sources", frontend+" . "+plainText(p), nil)
		}
		shard := endpointsName(shardOf(c.Frontend))
		for slot, target := range c.Want.Slots {
			slotted := append(slices.Clip(key), byte(slot), byte(slot>>8), 0, 0)
			add(shard, fmt.Sprintf("%s . %d : %s . %d", frontend, slot, target.Addr(), target.Port()), slotted)
		}
	}
	for _, list := range held {
		slices.SortFunc(list, func(a, b elementText) int { return compareReversed(a.key, b.key) })
	}
	return held
}

// sortKey is the key without its padding.
func sortKey(f cluster.Frontend) []byte {
	return append(f.VIP.AsSlice(), byte(f.Proto), byte(f.Port>>8), byte(f.Port))
}

func listenerSortKey(l cluster.Listener) []byte {
	return sortKey(cluster.Frontend{VIP: l.Address.Addr(), Proto: l.Proto, Port: l.Address.Port()})
}

func compareReversed(a, b []byte) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

func plainText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (s setSpec) prefixText(p netip.Prefix) string {
	text := plainText(p)
	if len(s.key) == 2 {
		text += " . " + text
	}
	return text
}

// text is the whole set, with as many elements to a line as nft puts there.
func (s setSpec) text(elements []elementText) string {
	var b strings.Builder
	kind, types := "set", "type "+concat(s.key).Name
	if len(s.data) > 0 {
		kind, types = "map", types+" : "+concat(s.data).Name
	}
	if s.typeof != "" {
		types = "typeof " + s.typeof
	}
	fmt.Fprintf(&b, "\t%s %s {\n\t\t%s\n", kind, s.name, types)
	if s.size > 0 {
		fmt.Fprintf(&b, "\t\tsize %d\n", s.size)
	}
	if s.flags&interval != 0 {
		b.WriteString("\t\tflags interval\n")
	}
	switch {
	case s.timeout > 0:
		fmt.Fprintf(&b, "\t\tflags dynamic,timeout\n\t\ttimeout %s\n", s.timeout)
	case s.flags&dynamic != 0:
		b.WriteString("\t\tflags dynamic\n")
	}
	if s.flags&counter != 0 {
		b.WriteString("\t\tcounter\n")
	}
	if len(elements) > 0 {
		perLine := 1
		if len(s.key) == 1 && s.key[0] == nftables.TypeIPAddr {
			perLine = 2
		}
		b.WriteString("\t\telements = { ")
		for i, e := range elements {
			switch {
			case i == 0:
			case i%perLine == 0:
				b.WriteString(",\n\t\t\t     ")
			default:
				b.WriteString(", ")
			}
			b.WriteString(e.text)
		}
		b.WriteString(" }\n")
	}
	b.WriteString("\t}\n")
	return b.String()
}

// chainTexts are the frame's chains and then those that are made on need, in the order of their first need.
func (f *family) chainTexts(changes []rules.Change) (out []string) {
	for _, c := range f.chains() {
		out = append(out, c.text())
	}
	seen := map[string]bool{}
	for _, c := range changes {
		name := chainFor(c.Frontend, rules.Lead{Mode: c.Want.Mode, Size: c.Want.Size})
		if spec, onNeed := f.onNeed(name); onNeed && f.has(c.Frontend.VIP) && !seen[name] {
			seen[name] = true
			out = append(out, spec.text())
		}
	}
	return out
}

func (c chainSpec) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n", c.name)
	if c.hook != nil {
		fmt.Fprintf(&b, "\t\t%s\n", c.hook.text)
	}
	for _, r := range c.rules {
		fmt.Fprintf(&b, "\t\t%s\n", r.text)
	}
	b.WriteString("\t}\n")
	return b.String()
}
