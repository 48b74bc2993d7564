// Package rulestest holds what tests of rules need: a strict fake of a kernel, the suite that every driver must pass, and
// random clusters. Packets that walk a State are rules.Trace.
package rulestest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Fake is a kernel in memory. It refuses what a kernel refuses (a key that is not there cannot be deleted, one with other
// data cannot be added), keeps all or nothing of a transaction, and checks after each one that no packet could have been
// lost between this generation and the one before.
type Fake struct {
	FailPct int                     // how many transactions of a hundred fail for no reason; 10 by default
	Reject  func(rules.Change) bool // frontends that this kernel does not take
	Late    bool                    // it takes their first transaction and rejects the second
	Commits int                     // transactions so far
	Lost    []string                // packets that would have left untranslated

	now    generation
	random *rand.Rand
}

type slot struct {
	frontend cluster.Frontend
	number   int
}

type entry struct {
	mode rules.Mode
	size int
}

type generation struct {
	framed  bool
	sets    map[rules.Set][]netip.Prefix
	entries map[cluster.Frontend]entry
	slots   map[slot]netip.AddrPort
}

// NewFake is an empty kernel whose failures follow the seed.
func NewFake(seed uint64) *Fake {
	return &Fake{FailPct: 10, random: rand.New(rand.NewPCG(seed, 1)), now: generation{
		sets: map[rules.Set][]netip.Prefix{}, entries: map[cluster.Frontend]entry{}, slots: map[slot]netip.AddrPort{},
	}}
}

// Name is fake.
func (f *Fake) Name() string { return "fake" }

// Watch never has anything to tell.
func (f *Fake) Watch(ctx context.Context, _ func(rules.Foreign)) error {
	<-ctx.Done()
	return nil
}

// Clean empties the kernel.
func (f *Fake) Clean(context.Context) error {
	f.now = NewFake(0).now
	return nil
}

// Read tells what the kernel holds.
func (f *Fake) Read(context.Context) (*rules.State, error) {
	state := rules.NewState()
	if !f.now.framed {
		state.Damage = []rules.Damage{{Object: "frame", What: "missing", Mend: true}}
		return state, nil
	}
	for set, prefixes := range f.now.sets {
		state.Sets[set] = slices.Clone(prefixes)
	}
	for s, target := range f.now.slots {
		p := state.Placed[s.frontend]
		for len(p.Slots) <= s.number {
			p.Slots = append(p.Slots, netip.AddrPort{})
		}
		p.Slots[s.number] = target
		state.Placed[s.frontend] = p
	}
	for frontend, e := range f.now.entries {
		p := state.Placed[frontend]
		p.Mode, p.Size = e.mode, e.size
		state.Placed[frontend] = p
	}
	return state, nil
}

// Apply runs both phases, each as one transaction.
func (f *Fake) Apply(_ context.Context, plan *rules.Plan) error {
	for phase := range 2 {
		next, err := f.now.with(plan, phase)
		if err != nil {
			return err
		}
		if f.random.IntN(100) < f.FailPct {
			return fmt.Errorf("the fake fails this time: %w", rules.ErrShadow)
		}
		for _, c := range plan.Changes {
			if f.Reject != nil && f.Late == (phase == 1) && f.Reject(c) {
				return fmt.Errorf("%s: %w", c.Frontend, rules.ErrRejected)
			}
		}
		f.check(next)
		f.now = next
		f.Commits++
	}
	return nil
}

func (g generation) clone() generation {
	out := NewFake(0).now
	out.framed = g.framed
	for k, v := range g.sets {
		out.sets[k] = slices.Clone(v)
	}
	for k, v := range g.entries {
		out.entries[k] = v
	}
	for k, v := range g.slots {
		out.slots[k] = v
	}
	return out
}

func (g generation) with(plan *rules.Plan, phase int) (generation, error) {
	next := g.clone()
	if phase == 0 {
		next.framed = next.framed || len(plan.Repairs) > 0
		for _, change := range plan.Sets {
			if err := next.set(change); err != nil {
				return next, err
			}
		}
	}
	if !next.framed {
		return next, fmt.Errorf("there is no frame: %w", rules.ErrShadow)
	}
	for _, c := range plan.Changes {
		if err := next.change(c, phase); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (g generation) set(change rules.SetChange) error {
	have := g.sets[change.Set]
	for _, p := range change.Remove {
		i := slices.Index(have, p)
		if i < 0 {
			return fmt.Errorf("%s does not hold %s: %w", change.Set, p, rules.ErrShadow)
		}
		have = slices.Delete(have, i, i+1)
	}
	for _, p := range change.Add {
		if slices.ContainsFunc(have, p.Overlaps) {
			return fmt.Errorf("%s: %s overlaps: %w", change.Set, p, rules.ErrShadow)
		}
		have = append(have, p)
	}
	slices.SortFunc(have, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	g.sets[change.Set] = have
	return nil
}

func (g generation) change(c rules.Change, phase int) error {
	for _, w := range c.SlotsIn(phase) {
		key := slot{c.Frontend, w.Slot}
		if have := g.slots[key]; have != w.Old {
			return fmt.Errorf("%s slot %d holds %s, not %s: %w", c.Frontend, w.Slot, have, w.Old, rules.ErrShadow)
		}
		delete(g.slots, key)
		if w.New.IsValid() {
			g.slots[key] = w.New
		}
	}
	if !c.EntryIn(phase) {
		return nil
	}
	if have := g.entries[c.Frontend]; have != (entry{c.Have.Mode, c.Have.Size}) {
		return fmt.Errorf("%s is %v, not %v: %w", c.Frontend, have, c.Have, rules.ErrShadow)
	}
	delete(g.entries, c.Frontend)
	if c.Want.Mode != rules.Absent {
		g.entries[c.Frontend] = entry{c.Want.Mode, c.Want.Size}
	}
	return nil
}

// check looks for packets that read an entry in one generation and its slot in another.
func (f *Fake) check(next generation) {
	for _, first := range []generation{f.now, next} {
		for frontend, e := range first.entries {
			for n := range e.size {
				if _, ok := next.slots[slot{frontend, n}]; !ok && next.entries[frontend].size > 0 {
					f.Lost = append(f.Lost, fmt.Sprintf("%s: entry of size %d, slot %d missing", frontend, e.size, n))
				}
			}
		}
	}
}
