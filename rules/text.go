package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// String prints what should be, one line for each thing, sorted:
//
//	vips 10.10.1.0/24
//	local 192.168.10.100:80
//	10.10.1.128:8080 random 4 (service a): 192.168.10.100:80 192.168.10.101:80 x3
//	10.10.1.129:80 refuse (service b)
//	10.10.1.131:80 hold (service d)
//	10.10.1.130:80 random 1 for 10.30.0.0/24 (service c): 192.168.10.100:80
//	problem service c: ...
func (r *Ruleset) String() string {
	var b strings.Builder
	writeSets(&b, r.Sets, r.Local)
	for _, f := range slices.SortedFunc(keys(r.Balancers), cluster.Frontend.Compare) {
		balancer, _ := r.Balancers.Get(f)
		fmt.Fprintf(&b, "%s %s\n", f, balancer)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "problem %s\n", p.Error())
	}
	return b.String()
}

// String is one line: mode, size, service, and each target with its slots.
func (b *Balancer) String() string {
	head := Placement{Mode: b.Mode, Size: b.Slots(), Guarded: b.Guarded, Sources: b.Sources}.summary()
	return fmt.Sprintf("%s (service %s)%s", head, b.Service, shareText(b.Shares))
}

// String prints what the kernel holds in the words of Ruleset.String (it knows no services), and what is wrong with it.
func (s *State) String() string {
	var b strings.Builder
	for _, d := range s.Damage {
		fmt.Fprintf(&b, "damaged %s: %s\n", d.Object, d.What)
	}
	writeSets(&b, s.Sets, s.Local)
	for _, f := range slices.SortedFunc(maps.Keys(s.Placed), cluster.Frontend.Compare) {
		fmt.Fprintf(&b, "%s %s\n", f, s.Placed[f])
	}
	for _, p := range s.quarantineProblems() {
		fmt.Fprintf(&b, "problem %s\n", p.Error())
	}
	return b.String()
}

// String is one line: mode, size, each target with its slots, and slots left over from a change that did not end.
func (p Placement) String() string {
	text := p.summary() + shareText(p.Shares())
	if over := len(p.Slots) - p.Size; over > 0 {
		text += fmt.Sprintf(", %d slots left over", over)
	}
	return text
}

func shareText(shares []Share) string {
	var b strings.Builder
	separator := ": "
	for _, s := range shares {
		name := s.Target.String()
		if !s.Target.IsValid() {
			name = "missing"
		}
		b.WriteString(separator + name)
		if s.Slots != 1 {
			fmt.Fprintf(&b, " x%d", s.Slots)
		}
		separator = " "
	}
	return b.String()
}

func writeSets(b *strings.Builder, sets [setCount][]netip.Prefix, local []cluster.Listener) {
	for _, set := range Sets {
		for _, p := range sets[set] {
			fmt.Fprintf(b, "%s %s\n", set, p)
		}
	}
	for _, l := range local {
		fmt.Fprintf(b, "local %s\n", l)
	}
}

func keys[K, V comparable](m cluster.Map[K, V]) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m.All() {
			if !yield(k) {
				return
			}
		}
	}
}
