// Package rulestest holds what tests of rules need: a strict fake of a kernel, the suite that every driver must pass, and
// random clusters. Packets that walk a State are rules.Trace.
package rulestest

import (
	"context"
	"fmt"
	"maps"
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

type generation struct {
	framed  bool
	sets    map[rules.Set][]netip.Prefix
	local   []cluster.Listener
	entries map[cluster.Frontend]rules.Lead
	guards  map[cluster.Frontend]rules.Lead
	sources map[cluster.Frontend][]netip.Prefix
	slots   map[slot]netip.AddrPort
}

// NewFake is an empty kernel whose failures follow the seed.
func NewFake(seed uint64) *Fake {
	return &Fake{FailPct: 10, random: rand.New(rand.NewPCG(seed, 1)), now: generation{
		sets: map[rules.Set][]netip.Prefix{}, entries: map[cluster.Frontend]rules.Lead{}, guards: map[cluster.Frontend]rules.Lead{},
		sources: map[cluster.Frontend][]netip.Prefix{}, slots: map[slot]netip.AddrPort{},
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
	state.Local = slices.Clone(f.now.local)
	for frontend := range f.now.frontends() {
		p, entry, guard := state.Placed[frontend], f.now.entries[frontend], f.now.guards[frontend]
		if p.Sources = slices.Clone(f.now.sources[frontend]); entry.Guard {
			p.Guarded, p.Mode, p.Size = true, guard.Mode, guard.Size
		} else {
			p.Mode, p.Size, p.Stale = entry.Mode, entry.Size, guard
		}
		state.Placed[frontend] = p
	}
	return state, nil
}

// Apply runs the phases in which something is written, each as one transaction.
func (f *Fake) Apply(_ context.Context, plan *rules.Plan) error {
	for phase := range rules.Phases {
		if plan.WritesIn(phase) == 0 {
			continue
		}
		next, err := f.now.with(plan, phase)
		if err != nil {
			return err
		}
		if f.random.IntN(100) < f.FailPct {
			return fmt.Errorf("the fake fails this time: %w", rules.ErrShadow)
		}
		for _, c := range plan.Changes {
			if f.Reject != nil && f.Late == (phase > 0) && f.Reject(c) {
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
	out.local = slices.Clone(g.local)
	maps.Copy(out.entries, g.entries)
	maps.Copy(out.guards, g.guards)
	for k, v := range g.sources {
		out.sources[k] = slices.Clone(v)
	}
	maps.Copy(out.slots, g.slots)
	return out
}

// frontends are those of which there is an entry or something of a guard.
func (g generation) frontends() map[cluster.Frontend]bool {
	out := map[cluster.Frontend]bool{}
	for f := range g.entries {
		out[f] = true
	}
	for f := range g.guards {
		out[f] = true
	}
	for f := range g.sources {
		out[f] = true
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
		if plan.Local != nil {
			if err := next.listen(plan.Local); err != nil {
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

func (g generation) set(change rules.SetChange) (err error) {
	g.sets[change.Set], err = exchange(change.Set.String(), g.sets[change.Set], change.Remove, change.Add)
	return err
}

// exchange removes and adds prefixes, as strictly as an interval set does.
func exchange(what string, have, remove, add []netip.Prefix) ([]netip.Prefix, error) {
	for _, p := range remove {
		i := slices.Index(have, p)
		if i < 0 {
			return nil, fmt.Errorf("%s does not hold %s: %w", what, p, rules.ErrShadow)
		}
		have = slices.Delete(have, i, i+1)
	}
	for _, p := range add {
		if slices.ContainsFunc(have, p.Overlaps) {
			return nil, fmt.Errorf("%s: %s overlaps: %w", what, p, rules.ErrShadow)
		}
		have = append(have, p)
	}
	slices.SortFunc(have, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return have, nil
}

func (g *generation) listen(change *rules.LocalChange) error {
	for _, l := range change.Remove {
		i := slices.Index(g.local, l)
		if i < 0 {
			return fmt.Errorf("local does not hold %s: %w", l, rules.ErrShadow)
		}
		g.local = slices.Delete(g.local, i, i+1)
	}
	for _, l := range change.Add {
		if slices.Contains(g.local, l) {
			return fmt.Errorf("local holds %s: %w", l, rules.ErrShadow)
		}
		g.local = append(g.local, l)
	}
	slices.SortFunc(g.local, cluster.Listener.Compare)
	return nil
}

func (g generation) change(c rules.Change, phase int) (err error) {
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
	remove, add := c.SourcesIn(phase)
	if g.sources[c.Frontend], err = exchange(c.Frontend.String(), g.sources[c.Frontend], remove, add); err != nil {
		return err
	}
	if len(g.sources[c.Frontend]) == 0 {
		delete(g.sources, c.Frontend)
	}
	if c.GuardIn(phase) {
		if err := lead(g.guards, c.Frontend, c.Have.Guard(), c.Want.Guard()); err != nil {
			return err
		}
	}
	if c.EntryIn(phase) {
		return lead(g.entries, c.Frontend, c.Have.Entry(), c.Want.Entry())
	}
	return nil
}

func lead(in map[cluster.Frontend]rules.Lead, f cluster.Frontend, old, new rules.Lead) error {
	if have := in[f]; have != old {
		return fmt.Errorf("%s leads to %v, not %v: %w", f, have, old, rules.ErrShadow)
	}
	if delete(in, f); new != (rules.Lead{}) {
		in[f] = new
	}
	return nil
}
