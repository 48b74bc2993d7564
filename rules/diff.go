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
//	-               a: (no target)  the entry, which refuses
//
// Frontends that share their balancer with the last applied ruleset are skipped unseen.
func Diff(have *State, want *Ruleset) *Plan {
	p := &Plan{Revision: want.Revision, Repairs: have.Damage, want: want}
	for _, set := range Sets {
		if change := diffSet(set, have.Sets[set], want.Sets[set]); change != nil {
			p.Sets = append(p.Sets, *change)
		}
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

// place decides which slot holds which target. A slot whose target is still wanted keeps it; the others are filled in
// the order of the targets.
func place(have Placement, b *Balancer) Placement {
	switch {
	case b == nil:
		return Placement{}
	case have.holds(b):
		return have
	case b.Mode == Source:
		return Placement{Mode: Source, Size: len(b.Table), Slots: b.Table}
	}
	next := Placement{Mode: b.Mode, Size: b.Slots()}
	if next.Size == 0 {
		return next
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
	return next
}

func diffSet(set Set, have, want []netip.Prefix) *SetChange {
	change := &SetChange{Set: set, After: want}
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		switch order := comparePrefixes(have[i:], want[j:]); {
		case order < 0:
			change.Remove = append(change.Remove, have[i])
			i++
		case order > 0:
			change.Add = append(change.Add, want[j])
			j++
		default:
			i++
			j++
		}
	}
	if len(change.Add) == 0 && len(change.Remove) == 0 {
		return nil
	}
	return change
}

// comparePrefixes orders the heads of two sorted lists; an exhausted list comes last.
func comparePrefixes(a, b []netip.Prefix) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Or(a[0].Addr().Compare(b[0].Addr()), cmp.Compare(a[0].Bits(), b[0].Bits()))
}
