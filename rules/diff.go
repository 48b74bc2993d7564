package rules

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Diff says what must change for the kernel to hold what is wanted.
//
//	have            want            change
//	----            ----            ------
//	a: x y          a: y x          none: the order of random slots means nothing
//	a: x y          a: x z          slot 1
//	a: x y          a: x y z        slot 2, then the size
//	a: x y z        a: x z          the size and slot 1 (z fills the hole), then slot 2 goes
//	a: x            -               the entry, then its slot
//	-               a: (no target)  the entry, which refuses, or holds where the service sleeps
//	a: x            a: x, guarded   the guard and its sources, then the entry
//	a: x, guarded   a: x            the entry, then the guard and its sources
//
// Frontends that share their balancer with the last applied ruleset are skipped unseen.
func Diff(have *State, want *Ruleset) *Plan {
	p := &Plan{Revision: want.Revision, Repairs: have.Damage, want: want}
	for _, set := range Sets {
		if change := diffSet(set, have.Sets[set], want.Sets[set]); change != nil {
			p.Sets = append(p.Sets, *change)
		}
	}
	if add, remove := differences(have.Local, want.Local, cluster.Listener.Compare); len(add)+len(remove) > 0 {
		p.Local = &LocalChange{Remove: remove, Add: add, After: want.Local}
	}
	for f := range have.candidates(want) {
		b, _ := want.Balancers.Get(f)
		if q, ok := have.quarantined[f]; ok && q.Balancer == b {
			p.skip(f)
			continue
		}
		placed := have.Placed[f]
		if next := place(placed, b); !next.equal(placed) {
			p.Changes = append(p.Changes, Change{Frontend: f, Have: placed, Want: next, balancer: b})
		}
	}
	slices.SortFunc(p.Changes, func(a, b Change) int { return a.Frontend.Compare(b.Frontend) })
	return p
}

// candidates yields each frontend that may differ, once.
func (s *State) candidates(want *Ruleset) func(func(cluster.Frontend) bool) {
	return func(yield func(cluster.Frontend) bool) {
		if s.reached != nil {
			for f := range s.unsettled {
				if !yield(f) {
					return
				}
			}
			for f := range cluster.Changed(s.reached.Balancers, want.Balancers) {
				if !s.unsettled[f] && !yield(f) {
					return
				}
			}
			return
		}
		for f := range want.Balancers.All() {
			if !yield(f) {
				return
			}
		}
		for f := range s.Placed {
			if _, wanted := want.Balancers.Get(f); !wanted && !yield(f) {
				return
			}
		}
	}
}

// place decides what a frontend should hold, given what it has.
func place(have Placement, b *Balancer) Placement {
	switch {
	case b == nil:
		return Placement{}
	case have.holds(b) && have.guards(b):
		return have
	}
	next := Placement{Mode: b.Mode, Size: b.Slots(), Slots: b.Table, Guarded: b.Guarded, Sources: b.Sources}
	switch {
	case have.holds(b):
		next.Slots = have.Slots
	case b.Table == nil:
		next.Slots = slotsFor(have, b)
	}
	return next
}

// slotsFor decides which slot holds which target. A slot whose target is still wanted keeps it; the others are filled in
// the order of the targets.
func slotsFor(have Placement, b *Balancer) []netip.AddrPort {
	next := Placement{Size: b.Slots()}
	if next.Size == 0 {
		return nil
	}
	next.Slots = make([]netip.AddrPort, next.Size)
	left := make(map[netip.AddrPort]int, len(b.Shares))
	for _, s := range b.Shares {
		left[s.Target] = s.Slots
	}
	for i := range next.Slots {
		if target := have.slot(i); left[target] > 0 {
			next.Slots[i] = target
			left[target]--
		}
	}
	hole := 0
	for _, s := range b.Shares {
		for ; left[s.Target] > 0; left[s.Target]-- {
			for next.Slots[hole].IsValid() {
				hole++
			}
			next.Slots[hole] = s.Target
		}
	}
	return next.Slots
}

func diffSet(set Set, have, want []netip.Prefix) *SetChange {
	add, remove := differences(have, want, comparePrefixes)
	if len(add) == 0 && len(remove) == 0 {
		return nil
	}
	return &SetChange{Set: set, Remove: remove, Add: add, After: want}
}

// differences are what must come and go for one sorted list to become another.
func differences[T any](have, want []T, compare func(a, b T) int) (add, remove []T) {
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		order := 0
		switch {
		case i == len(have):
			order = 1
		case j == len(want):
			order = -1
		default:
			order = compare(have[i], want[j])
		}
		if order <= 0 {
			i++
		}
		if order >= 0 {
			j++
		}
		if order < 0 {
			remove = append(remove, have[i-1])
		}
		if order > 0 {
			add = append(add, want[j-1])
		}
	}
	return add, remove
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
