package nft

import (
	"fmt"
	"maps"

	"github.com/google/nftables"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// batch is one transaction: first what concerns tables, chains and rules, in the order of the calls, then all elements
// that go, then all that come, entries last, and then foreign objects that go.
type batch struct {
	d        *Driver
	used     bool
	anew     map[*family]bool            // tables that are made: nothing that was in them is left
	made     map[*family]map[string]bool // balancer chains that exist once the batch is through
	elements map[setOf]*elements
	order    []setOf
	doomed   []rules.Damage // foreign sets and chains, which go last
}

type setOf struct {
	family *family
	name   string
}

type elements struct{ remove, add []nftables.SetElement }

func newBatch(d *Driver) *batch {
	return &batch{d: d, anew: map[*family]bool{}, made: map[*family]map[string]bool{}, elements: map[setOf]*elements{}}
}

func (b *batch) table(f *family) *nftables.Table {
	return &nftables.Table{Name: tableName, Family: f.table}
}

func (b *batch) of(f *family, name string) *elements {
	key := setOf{f, name}
	if b.elements[key] == nil {
		b.elements[key] = &elements{}
		b.order = append(b.order, key)
	}
	return b.elements[key]
}

// repair mends what is damaged. What is missing is made before rules that refer to it. What is foreign loses its rules
// here and goes in the second transaction, when no element refers to it any more.
func (b *batch) repair(damage []rules.Damage) {
	for _, d := range damage {
		b.used = true
		switch m := d.Mend.(type) {
		case mendTable:
			b.makeTable(m)
		case mendChain:
			if m.rehook {
				b.flushChain(m.family, m.spec.name)
				b.d.conn.DelChain(&nftables.Chain{Table: b.table(m.family), Name: m.spec.name})
			}
			if !m.exists || m.rehook {
				b.d.conn.AddChain(m.spec.chain(b.table(m.family)))
			}
		case mendSet:
			if m.missing {
				_ = b.d.conn.AddSet(m.spec.set(b.table(m.family)), nil) // an error is kept and returned by Flush
				continue
			}
			b.d.conn.FlushSet(m.spec.set(b.table(m.family)))
		case dropElement:
			list := b.of(m.family, m.set)
			list.remove = append(list.remove, m.element)
		}
	}
	for _, d := range damage {
		switch m := d.Mend.(type) {
		case mendChain:
			if m.exists && !m.rehook {
				b.flushChain(m.family, m.spec.name)
			}
			b.fill(m.family, m.spec)
		case dropChain:
			b.flushChain(m.family, m.name)
		}
	}
}

// drop removes foreign sets, then what such sets may lead to.
func (b *batch) drop() {
	for _, d := range b.doomed {
		if m, ok := d.Mend.(dropSet); ok {
			b.used = true
			b.d.conn.DelSet(&nftables.Set{Table: b.table(m.family), Name: m.name})
		}
	}
	for _, d := range b.doomed {
		switch m := d.Mend.(type) {
		case dropChain:
			b.used = true
			b.d.conn.DelChain(&nftables.Chain{Table: b.table(m.family), Name: m.name})
		case dropObject:
			b.used = true
			b.d.conn.DeleteObject(&nftables.NamedObj{Table: b.table(m.family), Name: m.name, Type: m.kind})
		case dropFlowtable:
			b.used = true
			b.d.conn.DelFlowtable(&nftables.Flowtable{Table: b.table(m.family), Name: m.name})
		}
	}
}

func (b *batch) flushChain(f *family, name string) {
	b.d.conn.FlushChain(&nftables.Chain{Table: b.table(f), Name: name})
}

func (b *batch) makeTable(m mendTable) {
	if m.exists {
		b.d.conn.DelTable(b.table(m.family))
	}
	table := b.d.conn.AddTable(b.d.tableOf(m.family, b.d.owning))
	for _, s := range m.family.specs {
		_ = b.d.conn.AddSet(s.set(table), nil) // an error is kept and returned by Flush
	}
	chains := m.family.chains()
	for _, c := range chains {
		b.d.conn.AddChain(c.chain(table))
	}
	for _, c := range chains {
		b.fill(m.family, c)
	}
	b.anew[m.family] = true
}

func (b *batch) fill(f *family, c chainSpec) {
	for _, r := range c.rules {
		b.d.conn.AddRule(&nftables.Rule{Table: b.table(f), Chain: &nftables.Chain{Table: b.table(f), Name: c.name}, Exprs: r.exprs})
	}
}

func (b *batch) sets(changes []rules.SetChange) {
	for _, change := range changes {
		for _, f := range families {
			for _, spec := range f.specs {
				if !spec.holding || spec.ofSet != change.Set {
					continue
				}
				list := b.of(f, spec.name)
				for _, p := range change.Remove {
					if f.has(p.Addr()) {
						list.remove = append(list.remove, spec.elements(p)...)
					}
				}
				for _, p := range change.Add {
					if f.has(p.Addr()) {
						list.add = append(list.add, spec.elements(p)...)
					}
				}
			}
		}
	}
}

// local changes which instances of this node are counted.
func (b *batch) local(change *rules.LocalChange) {
	if change == nil {
		return
	}
	for _, l := range change.Remove {
		list := b.of(familyOf(l.Address.Addr()), "local")
		list.remove = append(list.remove, nftables.SetElement{Key: listenerKey(l)})
	}
	for _, l := range change.Add {
		list := b.of(familyOf(l.Address.Addr()), "local")
		list.add = append(list.add, nftables.SetElement{Key: listenerKey(l)})
	}
}

// changes writes one phase of all frontends; all at once where no packet can see the generation before.
func (b *batch) changes(plan *rules.Plan, phase int) {
	anew := map[*family]bool{}
	for _, damage := range plan.Repairs {
		if m, ok := damage.Mend.(mendTable); ok {
			anew[m.family] = true
		}
	}
	for _, c := range plan.Changes {
		if whole := anew[familyOf(c.Frontend.VIP)]; !whole {
			b.change(c, phase)
		} else if phase == 0 {
			for every := range rules.Phases {
				b.change(c, every)
			}
		}
	}
}

// change writes one phase of one frontend's change.
func (b *batch) change(c rules.Change, phase int) {
	f := familyOf(c.Frontend.VIP)
	slots := b.of(f, endpointsName(shardOf(c.Frontend)))
	for _, w := range c.SlotsIn(phase) {
		key := slotKey(c.Frontend, w.Slot)
		if w.Old.IsValid() {
			slots.remove = append(slots.remove, nftables.SetElement{Key: key})
		}
		if w.New.IsValid() {
			slots.add = append(slots.add, nftables.SetElement{Key: key, Val: targetData(w.New)})
		}
	}
	if phase == 0 {
		b.need(f, c.Frontend, c.Want)
	}
	sources := b.of(f, "sources")
	remove, add := c.SourcesIn(phase)
	for _, p := range remove {
		sources.remove = append(sources.remove, sourceElement(c.Frontend, p))
	}
	for _, p := range add {
		sources.add = append(sources.add, sourceElement(c.Frontend, p))
	}
	if c.GuardIn(phase) {
		b.of(f, "guards").lead(c.Frontend, c.Have.Guard(), c.Want.Guard())
	}
	if c.EntryIn(phase) {
		b.of(f, "services").lead(c.Frontend, c.Have.Entry(), c.Want.Entry())
	}
}

// lead replaces where a frontend leads.
func (e *elements) lead(f cluster.Frontend, old, new rules.Lead) {
	if old != (rules.Lead{}) {
		e.remove = append(e.remove, nftables.SetElement{Key: frontendKey(f)})
	}
	if new != (rules.Lead{}) {
		e.add = append(e.add, verdict(f, new))
	}
}

// need makes the chain that a placement needs, on first need. Chains stay: others may use them, or will.
func (b *batch) need(f *family, frontend cluster.Frontend, p rules.Placement) {
	name := chainFor(frontend, rules.Lead{Mode: p.Mode, Size: p.Size})
	spec, onNeed := f.onNeed(name)
	if !onNeed || b.made[f][name] || b.d.known[f][name] && !b.anew[f] {
		return
	}
	b.d.conn.AddChain(spec.chain(b.table(f)))
	b.fill(f, spec)
	if b.made[f] == nil {
		b.made[f] = map[string]bool{}
	}
	b.made[f][name] = true
	b.used = true
}

// flush sends the transaction, if it holds anything. Only then does the driver know of it.
func (b *batch) flush() error {
	b.collect()
	b.drop()
	if !b.used {
		return nil
	}
	if err := b.d.conn.Flush(); err != nil {
		return fmt.Errorf("write to nf_tables: %w", classify(err))
	}
	for f := range b.anew {
		b.d.known[f] = map[string]bool{}
	}
	for f, names := range b.made {
		maps.Copy(b.d.known[f], names)
	}
	return nil
}

// collect puts the elements behind what was collected so far.
func (b *batch) collect() {
	for _, last := range []bool{false, true} {
		for _, key := range b.order {
			b.used = b.used || len(b.elements[key].remove)+len(b.elements[key].add) > 0
			if !last {
				b.send(key, b.elements[key].remove, b.d.conn.SetDeleteElements)
			}
			if verdicts := key.name == "services" || key.name == "guards"; verdicts == last {
				b.send(key, b.elements[key].add, b.d.conn.SetAddElements)
			}
		}
	}
}

func (b *batch) send(key setOf, list []nftables.SetElement, verb func(*nftables.Set, []nftables.SetElement) error) {
	if len(list) == 0 {
		return
	}
	_ = verb(key.family.spec(key.name).set(b.table(key.family)), list) // an error is kept and returned by Flush
}
