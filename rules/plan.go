package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Plan is what must change. Printing it is the dry run.
type Plan struct {
	Revision int64
	Repairs  []Damage
	Sets     []SetChange
	Changes  []Change // sorted by frontend

	want    *Ruleset
	skipped map[cluster.Frontend]bool // in quarantine
}

// SetChange changes one set of prefixes. Removals come first, so that a pool may replace the addresses in it.
type SetChange struct {
	Set         Set
	Remove, Add []netip.Prefix
	After       []netip.Prefix
}

// Change takes one frontend from what it is to what it should be.
type Change struct {
	Frontend   cluster.Frontend
	Have, Want Placement
	balancer   *Balancer
}

// SlotWrite changes one slot. An invalid Old means that the slot is new, an invalid New that it goes.
type SlotWrite struct {
	Slot     int
	Old, New netip.AddrPort
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Repairs) == 0 && len(p.Sets) == 0 && len(p.Changes) == 0 }

func (p *Plan) skip(f cluster.Frontend) {
	if p.skipped == nil {
		p.skipped = map[cluster.Frontend]bool{}
	}
	p.skipped[f] = true
}

// A packet looks up its frontend's size first and the slot afterwards, and may see two generations of the rules in
// between. So a change of size is two transactions: the slots that a packet may still, or already, look for exist in
// the generation before and after. Growing, the slots come first; shrinking, they go last, and until then lead to
// targets that are wanted.

// shrinks says whether the entry is written in the first transaction.
func (c Change) shrinks() bool { return c.Want.Size < c.Have.Size || c.Want.Size == 0 }

// EntryChanges says whether the frontend's entry (its mode and size) has to be written at all.
func (c Change) EntryChanges() bool { return c.Have.Mode != c.Want.Mode || c.Have.Size != c.Want.Size }

// EntryIn says whether the frontend's entry is written in a phase, 0 or 1.
func (c Change) EntryIn(phase int) bool { return c.EntryChanges() && c.shrinks() == (phase == 0) }

// SlotsIn are the slots that are written in a phase, 0 or 1.
func (c Change) SlotsIn(phase int) (writes []SlotWrite) {
	for i := range max(len(c.Have.Slots), len(c.Want.Slots)) {
		old, final := c.Have.slot(i), c.Want.slot(i)
		between := final
		if i >= len(c.Want.Slots) {
			between = c.lingering(i, old)
		}
		if phase == 1 {
			old, between = between, final
		}
		if old != between {
			writes = append(writes, SlotWrite{i, old, between})
		}
	}
	return writes
}

// lingering is where a slot leads that goes in the second phase. With no target left there is nothing better than where
// it led.
func (c Change) lingering(slot int, old netip.AddrPort) netip.AddrPort {
	if !old.IsValid() || len(c.Want.Slots) == 0 || slices.Contains(c.Want.Slots, old) {
		return old
	}
	return c.Want.Slots[slot%len(c.Want.Slots)]
}

// Writes counts the entries, slots and set elements that the plan touches, and the repairs.
func (p *Plan) Writes() int {
	n := len(p.Repairs)
	for _, s := range p.Sets {
		n += len(s.Add) + len(s.Remove)
	}
	for _, c := range p.Changes {
		if c.EntryChanges() {
			n++
		}
		n += len(c.SlotsIn(0)) + len(c.SlotsIn(1))
	}
	return n
}

// String prints the plan, one line for each thing that changes:
//
//	repair ip chain dispatch: rule 2 differs
//	vips + 10.10.1.128/32
//	10.10.1.128:8080 absent -> random 3: +192.168.10.100:80 +192.168.10.101:80 +192.168.10.102:80
//	10.10.1.129:80 random 3 -> random 2: -192.168.10.100:80
func (p *Plan) String() string {
	var b strings.Builder
	for _, d := range p.Repairs {
		fmt.Fprintf(&b, "repair %s: %s\n", d.Object, d.What)
	}
	for _, s := range p.Sets {
		for _, prefix := range s.Remove {
			fmt.Fprintf(&b, "%s - %s\n", s.Set, prefix)
		}
		for _, prefix := range s.Add {
			fmt.Fprintf(&b, "%s + %s\n", s.Set, prefix)
		}
	}
	for _, c := range p.Changes {
		b.WriteString(c.String() + "\n")
	}
	return b.String()
}

// String is one line of Plan.String: each target with the slots that it wins or loses.
func (c Change) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Frontend, c.Have.summary())
	if c.EntryChanges() {
		fmt.Fprintf(&b, " -> %s", c.Want.summary())
	}
	delta := map[netip.AddrPort]int{}
	for _, t := range c.Have.Slots {
		delta[t]--
	}
	for _, t := range c.Want.Slots {
		delta[t]++
	}
	delete(delta, netip.AddrPort{})
	targets := make([]netip.AddrPort, 0, len(delta))
	for t, n := range delta {
		if n != 0 {
			targets = append(targets, t)
		}
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	separator := ":"
	for _, t := range targets {
		fmt.Fprintf(&b, "%s %s", separator, signed(delta[t], t))
		separator = ""
	}
	return b.String()
}

func signed(n int, t netip.AddrPort) string {
	sign := "+"
	if n < 0 {
		sign, n = "-", -n
	}
	if n == 1 {
		return sign + t.String()
	}
	return fmt.Sprintf("%s%s x%d", sign, t, n)
}

func (p Placement) summary() string {
	if p.Size == 0 {
		return p.Mode.String()
	}
	return fmt.Sprintf("%s %d", p.Mode, p.Size)
}
