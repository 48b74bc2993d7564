package ipt

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/rules"
)

// Text is a ruleset as iptables-save and ip6tables-save list an otherwise empty host that the driver wrote: the part for
// each family behind a comment that names the program which loads it. It needs neither a kernel nor privileges.
func Text(want *rules.Ruleset) string {
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintf(&b, "# %s-restore\n%s", f.program, TextOf(f.name, want))
	}
	return b.String()
}

// TextOf is the part of one family, ip or ip6: a file for iptables-restore or ip6tables-restore.
func TextOf(name string, want *rules.Ruleset) string {
	i := slices.IndexFunc(families[:], func(f *family) bool { return f.name == name })
	f := families[i]
	have := rules.NewState()
	(&reader{family: f, state: have, tables: map[string]listing{}}).read()
	p := payloadFor(f, rules.Diff(have, want))
	var b strings.Builder
	for _, table := range tables {
		p.tables[table].list().write(&b, table)
	}
	return b.String()
}

// list is what an empty table holds after the section.
func (s *section) list() listing {
	out := listing{}
	for _, c := range s.chains {
		out[c.chain] = c.rules
	}
	for _, command := range s.deltas {
		verb, rest, _ := strings.Cut(command, " ")
		chain, rule, _ := strings.Cut(rest, " ")
		if verb == "-I" {
			_, rule, _ = strings.Cut(rule, " ") // the position, which is always the first
			out[chain] = slices.Insert(slices.Clone(out[chain]), 0, rule)
		} else {
			out[chain] = append(slices.Clip(out[chain]), rule)
		}
	}
	return out
}

// builtins are the kernel's own chains of each table, in the order in which they are listed.
var builtins = map[string][]string{
	filter: {"INPUT", "FORWARD", "OUTPUT"},
	nat:    {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
}

func (l listing) write(b *strings.Builder, table string) {
	fmt.Fprintf(b, "*%s\n", table)
	order := builtins[table]
	for _, name := range order {
		fmt.Fprintf(b, ":%s ACCEPT [0:0]\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if strings.HasPrefix(name, ours) {
			order = append(slices.Clip(order), name)
			fmt.Fprintf(b, ":%s - [0:0]\n", name)
		}
	}
	for _, name := range order {
		for _, rule := range l[name] {
			fmt.Fprintf(b, "-A %s %s\n", name, rule)
		}
	}
	b.WriteString("COMMIT\n")
}
