package ipt

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

type prefix = netip.Prefix

// mend is how a damage is undone.
type mend struct {
	family *family
	write  func(*payload)
}

// Read finds what the kernel holds of ours.
func (d *Driver) Read(ctx context.Context) (*rules.State, error) {
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	state := rules.NewState()
	state.SlotOf, state.Path = slotOf, pathOf
	for _, f := range families {
		r := reader{family: f, state: state, tables: map[string]listing{}}
		for _, table := range tables {
			text, err := d.saved(ctx, d.programs, d.variant, f, table)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			r.tables[table] = parseListing(table, text)
		}
		r.read()
	}
	for _, set := range rules.Sets {
		slices.SortFunc(state.Sets[set], prefix.Compare)
	}
	slices.SortFunc(state.Local, cluster.Listener.Compare)
	d.settle()
	return state, nil
}

// reader compares one family's listings with what should be there.
type reader struct {
	*family
	state  *rules.State
	tables map[string]listing
}

func (r *reader) damage(table, object, what string, write func(*payload)) {
	r.state.Damage = append(r.state.Damage, rules.Damage{Object: fmt.Sprintf("%s %s %s", r.name, table, object), What: what, Mend: mend{r.family, write}})
}

func (r *reader) read() {
	known := map[string]bool{}
	for _, table := range tables {
		if r.missing(table) {
			r.remake(table)
			continue
		}
		for _, c := range r.fixed() {
			if c.table == table {
				r.compare(c)
			}
		}
		for _, h := range r.hooks() {
			if h.table == table {
				r.hooked(h)
			}
		}
		if table == nat {
			r.variables(known)
		}
	}
	r.strangers(known)
}

// missing says whether a table has no chain of ours that is always there.
func (r *reader) missing(table string) bool {
	for _, c := range r.fixed() {
		if _, there := r.tables[table][c.name]; there && c.table == table {
			return false
		}
	}
	return true
}

// remake makes all chains of a table and the hooks.
func (r *reader) remake(table string) {
	f := r.family
	r.damage(table, "table", "our chains are missing", func(p *payload) {
		f.frame(p, table)
		for _, h := range f.hooks() {
			if h.table == table {
				p.delta(table, "-I "+h.parent+" 1 "+h.rule)
			}
		}
	})
}

// frame writes the chains of a table that are always there, as they are without a service.
func (f *family) frame(p *payload, table string) {
	for _, c := range f.fixed() {
		if c.table == table {
			p.rewrite(table, c.name, c.rules)
		}
	}
	if table != nat {
		return
	}
	for _, name := range variable() {
		p.rewrite(nat, name, nil)
	}
	p.rewrite(nat, setChains[rules.KeepSource], f.setRules(rules.KeepSource, nil))
}

func (r *reader) compare(c chain) {
	have, there := r.tables[c.table][c.name]
	what := "differs"
	if !there {
		what = "missing"
	}
	if !there || !slices.Equal(have, c.rules) {
		r.damage(c.table, "chain "+c.name, what, func(p *payload) { p.rewrite(c.table, c.name, c.rules) })
	}
}

// hooked looks for a hook. Where it stands in its chain is not ours to say; that it stands there twice is our mistake.
func (r *reader) hooked(h hook) {
	switch n := count(r.tables[h.table][h.parent], h); {
	case n == 0:
		r.damage(h.table, "chain "+h.parent, "does not lead to ours", func(p *payload) { p.delta(h.table, "-I "+h.parent+" 1 "+h.rule) })
	case n > 1:
		r.damage(h.table, "chain "+h.parent, "leads to ours more than once", func(p *payload) {
			for range n - 1 {
				p.delta(h.table, "-D "+h.parent+" "+h.rule)
			}
		})
	}
}

// variables reads the chains of nat that hold what changes, and notes the chains that it knows.
func (r *reader) variables(known map[string]bool) {
	for _, name := range variable() {
		if _, there := r.tables[nat][name]; !there {
			r.damage(nat, "chain "+name, "missing", func(p *payload) { p.rewrite(nat, name, nil) })
		}
		known[name] = true
	}
	for set, name := range setChains {
		r.set(set, name)
	}
	var vips []prefix
	for i := range dispatchers {
		vips = append(vips, r.dispatcher(dispatcher(byte(i)), known)...)
	}
	vips = append(vips, r.dispatcher(vipsChain, known)...)
	r.listeners()
	slices.SortFunc(vips, prefix.Compare)
	r.state.Sets[rules.VIPs] = append(r.state.Sets[rules.VIPs], vips...)
	r.echoes(vips)
}

// set reads a chain that holds a set. What is not as we would write it is written anew with what can be read of it.
func (r *reader) set(set rules.Set, name string) {
	have := r.tables[nat][name]
	prefixes := r.parseSet(have)
	r.state.Sets[set] = append(r.state.Sets[set], prefixes...)
	if want := r.setRules(set, prefixes); !slices.Equal(have, want) {
		r.damage(nat, "chain "+name, "differs", func(p *payload) { p.rewrite(nat, name, want) })
	}
}

// listeners reads who is counted. Everything else in the chain goes, rule by rule.
func (r *reader) listeners() {
	seen := map[string]bool{}
	for _, rule := range r.tables[nat][localChain] {
		l, ok := r.parseListener(rule)
		if !ok || seen[rule] {
			r.damage(nat, "chain "+localChain, "holds a foreign rule: "+rule, func(p *payload) { p.delta(nat, "-D "+localChain+" "+rule) })
			continue
		}
		seen[rule] = true
		r.state.Local = append(r.state.Local, l)
	}
}

// dispatcher reads the frontends and VIPs of a chain, entries first. If there is anything else in it, or twice, it is
// written anew with what is sound.
func (r *reader) dispatcher(name string, known map[string]bool) (vips []prefix) {
	var sound []string
	foreign := ""
	for _, rule := range r.tables[nat][name] {
		frontend, isEntry := r.parseEntry(rule)
		vip, isVIP := r.parseVIP(rule)
		switch {
		case slices.Contains(sound, rule):
			foreign = rule
			continue
		case isEntry && name == dispatcherOf(frontend.VIP) && len(vips) == 0:
			r.frontend(frontend, known)
		case isVIP && name == chainOfVIPs(vip):
			vips = append(vips, vip)
		default:
			foreign = rule
			continue
		}
		sound = append(sound, rule)
	}
	if foreign != "" {
		r.damage(nat, "chain "+name, "holds a foreign rule: "+foreign, func(p *payload) { p.rewrite(nat, name, sound) })
	}
	return vips
}

func (r *reader) frontend(f cluster.Frontend, known map[string]bool) {
	placed := r.tables[nat].placement(f)
	r.state.Placed[f] = placed
	for _, b := range bodies(f, placed) {
		known[b.chain] = true
	}
}

// echoes looks at the chains that say of the VIPs what the dispatchers say.
func (r *reader) echoes(vips []prefix) {
	for i, name := range []string{toVIPsChain, fromVIPChain} {
		var want []string
		for _, vip := range vips {
			want = append(want, vipRules(vip)[i+1][1])
		}
		have := slices.Clone(r.tables[nat][name])
		slices.Sort(have)
		if !slices.Equal(have, slices.Sorted(slices.Values(want))) {
			r.damage(nat, "chain "+name, "differs", func(p *payload) { p.rewrite(nat, name, want) })
		}
	}
}

// strangers are chains under our prefix that nothing of ours leads to: foreign ones, and those of frontends whose entry
// somebody took away.
func (r *reader) strangers(known map[string]bool) {
	for _, c := range r.fixed() {
		known[c.table+" "+c.name] = true
	}
	for _, table := range tables {
		for _, name := range slices.Sorted(maps.Keys(r.tables[table])) {
			if strings.HasPrefix(name, ours) && !known[table+" "+name] && !(table == nat && known[name]) {
				r.damage(table, "chain "+name, "is not ours", func(p *payload) { p.drop(table, name) })
			}
		}
	}
}
