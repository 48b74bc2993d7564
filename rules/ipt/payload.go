package ipt

import (
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// payload is what one run of iptables-restore gets: for each table the chains that are written anew, then single rules,
// then the chains that go.
type payload struct {
	f      *family
	tables map[string]*section
}

type section struct {
	chains []body         // written anew, in this order
	index  map[string]int // of chains
	deltas []string       // whole commands
	gone   []string
}

func newPayload(f *family) *payload {
	return &payload{f: f, tables: map[string]*section{filter: {index: map[string]int{}}, nat: {index: map[string]int{}}}}
}

// rewrite gives a chain new rules; the last word about it counts.
func (p *payload) rewrite(table, name string, rules []string) {
	s := p.tables[table]
	if i, ok := s.index[name]; ok {
		s.chains[i].rules = rules
		return
	}
	s.index[name] = len(s.chains)
	s.chains = append(s.chains, body{name, rules})
}

func (p *payload) delta(table, command string) {
	s := p.tables[table]
	s.deltas = append(s.deltas, command)
}

// drop removes a chain, unless it is written anew as well.
func (p *payload) drop(table, name string) {
	s := p.tables[table]
	if !slices.Contains(s.gone, name) {
		s.gone = append(s.gone, name)
	}
}

// text is the whole payload, "" when there is nothing to do.
func (p *payload) text(order ...string) string {
	var b strings.Builder
	for _, table := range order {
		p.tables[table].write(&b, table)
	}
	return b.String()
}

func (s *section) write(b *strings.Builder, table string) {
	if len(s.chains)+len(s.deltas)+len(s.gone) == 0 {
		return
	}
	line := func(parts ...string) {
		for _, part := range parts {
			b.WriteString(part)
		}
		b.WriteByte('\n')
	}
	line("*", table)
	gone := slices.DeleteFunc(slices.Clone(s.gone), func(name string) bool { _, again := s.index[name]; return again })
	for _, c := range s.chains {
		line(":", c.chain, " - [0:0]")
	}
	for _, name := range gone {
		line(":", name, " - [0:0]") // empties it
	}
	for _, c := range s.chains {
		for _, rule := range c.rules {
			line("-A ", c.chain, " ", rule)
		}
	}
	for _, command := range s.deltas {
		line(command)
	}
	for _, name := range gone {
		line("-X ", name)
	}
	line("COMMIT")
}

// payloadFor is what a plan means for a family.
func payloadFor(f *family, plan *rules.Plan) *payload {
	p := newPayload(f)
	for _, damage := range plan.Repairs {
		if m, ok := damage.Mend.(mend); ok && m.family == f {
			m.write(p)
		}
	}
	for _, change := range plan.Sets {
		p.set(change)
	}
	if plan.Local != nil {
		p.listeners("-D ", plan.Local.Remove)
		p.listeners("-A ", plan.Local.Add)
	}
	for _, change := range plan.Changes {
		if f.has(change.Frontend.VIP) {
			p.change(change)
		}
	}
	return p
}

// set changes a set: VIPs rule by rule, the others, which are small, as a whole.
func (p *payload) set(change rules.SetChange) {
	if change.Set != rules.VIPs {
		name, known := setChains[change.Set]
		touched := slices.ContainsFunc(slices.Concat(change.Add, change.Remove), func(n prefix) bool { return p.f.has(n.Addr()) })
		if known && touched {
			p.rewrite(nat, name, p.f.setRules(change.Set, change.After))
		}
		return
	}
	each := func(prefixes []prefix, verb string) {
		for _, n := range prefixes {
			if p.f.has(n.Addr()) {
				for _, rule := range vipRules(n) {
					p.delta(nat, verb+rule[0]+" "+rule[1])
				}
			}
		}
	}
	each(change.Remove, "-D ")
	each(change.Add, "-A ")
}

// listeners are counted one by one: a chain written anew would count from zero.
func (p *payload) listeners(verb string, listeners []cluster.Listener) {
	for _, l := range listeners {
		if p.f.has(l.Address.Addr()) {
			p.delta(nat, verb+localChain+" "+listenerRule(l))
		}
	}
}

// change gives a frontend the chains that it should have, makes or removes its entry, and drops chains that it no longer
// has. Entries stand before the VIPs of their chain, which refuse.
func (p *payload) change(c rules.Change) {
	entry := dispatcherOf(c.Frontend.VIP)
	if c.Want.Mode != rules.Absent {
		for _, b := range bodies(c.Frontend, c.Want) {
			p.rewrite(nat, b.chain, b.rules)
		}
		if c.Have.Mode == rules.Absent {
			p.delta(nat, "-I "+entry+" 1 "+entryOf(c.Frontend))
		}
	} else if c.Have.Mode != rules.Absent {
		p.delta(nat, "-D "+entry+" "+entryOf(c.Frontend))
	}
	if c.Have.Mode != rules.Absent {
		for _, b := range bodies(c.Frontend, c.Have) {
			p.drop(nat, b.chain)
		}
	}
}
