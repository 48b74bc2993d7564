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
	Local    *LocalChange // nil: none
	Changes  []Change     // sorted by frontend

	want    *Ruleset
	skipped map[cluster.Frontend]bool // in quarantine
}

// SetChange changes one set of prefixes. Removals come first, so that a pool may replace the addresses in it.
type SetChange struct {
	Set         Set
	Remove, Add []netip.Prefix
	After       []netip.Prefix
}

// LocalChange changes which instances of this node are counted.
type LocalChange struct {
	Remove, Add []cluster.Listener
	After       []cluster.Listener
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
func (p *Plan) Empty() bool {
	return len(p.Repairs) == 0 && len(p.Sets) == 0 && p.Local == nil && len(p.Changes) == 0
}

func (p *Plan) skip(f cluster.Frontend) {
	if p.skipped == nil {
		p.skipped = map[cluster.Frontend]bool{}
	}
	p.skipped[f] = true
}

// Phases is how many transactions a plan has at most; those in which nothing is written are left out.
const Phases = 3

// A packet looks up its frontend's entry first, then the guard where that leads there, and the slot last, and may see two
// generations of the rules in between. So what a packet may still, or already, look for exists in the generation before
// and after, and a change takes up to three transactions: what the new way needs, then the turn to it, then what only the
// old way needed goes. Shrinking, the turn needs nothing new and comes first; until the last slots go they lead to targets
// that are wanted. A guard stands before the entry leads to it, and goes after it no longer does; both transactions
// apart, since some kernels show new elements of an interval set a moment later than the rest of their transaction.

// turn is the transaction after which new connections go the new way.
func (c Change) turn() int {
	stays := c.Have.Mode == c.Want.Mode && c.Have.Size == c.Want.Size && c.Have.Guarded == c.Want.Guarded
	shrinks := c.Want.Size < c.Have.Size || c.Want.Size == 0
	if stays || shrinks && (c.Have.Guarded || !c.Want.Guarded) {
		return 0
	}
	return 1
}

// EntryChanges says whether the frontend's entry has to be written at all.
func (c Change) EntryChanges() bool { return c.Have.Entry() != c.Want.Entry() }

// EntryIn says whether the frontend's entry is written in a phase.
func (c Change) EntryIn(phase int) bool { return c.EntryChanges() && phase == c.turn() }

// GuardIn says whether it is written in a phase where the guard leads; what comes before is Have.Guard, and what
// comes after Want.Guard, whose zero is nothing.
func (c Change) GuardIn(phase int) bool {
	return c.Have.Guard() != c.Want.Guard() && phase == c.guardPhase(c.turn())
}

// SourcesIn are the sources that go and come in a phase. Where one goes that another one covers, both are in the same.
func (c Change) SourcesIn(phase int) (remove, add []netip.Prefix) {
	if phase == c.guardPhase(0) {
		add, remove = differences(c.Have.Sources, c.Want.Sources, comparePrefixes)
	}
	return remove, add
}

// guardPhase is when what belongs to the guard is written; turning, where it leads both before and after.
func (c Change) guardPhase(turning int) int {
	switch {
	case !c.Want.Guarded:
		return Phases - 1
	case c.Have.Guarded:
		return turning
	}
	return 0
}

// SlotsIn are the slots that are written in a phase: those that the new way needs in the first, and those that only the
// old way needed behind the turn.
func (c Change) SlotsIn(phase int) (writes []SlotWrite) {
	gone := c.turn() + 1
	if phase != 0 && phase != gone {
		return nil
	}
	for i := range max(len(c.Have.Slots), len(c.Want.Slots)) {
		old, final := c.Have.slot(i), c.Want.slot(i)
		between := final
		if i >= len(c.Want.Slots) {
			between = c.lingering(i, old)
		}
		if phase == gone {
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

// Writes counts the entries, guards, slots and set elements that the plan touches, and the repairs.
func (p *Plan) Writes() (n int) {
	for phase := range Phases {
		n += p.WritesIn(phase)
	}
	return n
}

// WritesIn counts them in one phase.
func (p *Plan) WritesIn(phase int) (n int) {
	if phase == 0 {
		n += len(p.Repairs)
		for _, s := range p.Sets {
			n += len(s.Add) + len(s.Remove)
		}
		if p.Local != nil {
			n += len(p.Local.Add) + len(p.Local.Remove)
		}
	}
	for _, c := range p.Changes {
		remove, add := c.SourcesIn(phase)
		n += len(c.SlotsIn(phase)) + len(remove) + len(add)
		if c.EntryIn(phase) {
			n++
		}
		if c.GuardIn(phase) {
			n++
		}
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
	if p.Local != nil {
		for _, l := range p.Local.Remove {
			fmt.Fprintf(&b, "local - %s\n", l)
		}
		for _, l := range p.Local.Add {
			fmt.Fprintf(&b, "local + %s\n", l)
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
	if c.Have.summary() != c.Want.summary() {
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
	lead := Lead{Mode: p.Mode, Size: p.Size}
	if p.Guarded {
		return lead.String() + " for " + sourcesText(p.Sources)
	}
	if left := len(p.Sources); p.Stale != (Lead{}) || left > 0 {
		return fmt.Sprintf("%s, a guard left over (%s, %d sources)", lead, p.Stale, left)
	}
	return lead.String()
}

func (l Lead) String() string {
	if l.Size == 0 {
		return l.Mode.String()
	}
	return fmt.Sprintf("%s %d", l.Mode, l.Size)
}

func sourcesText(sources []netip.Prefix) string {
	if len(sources) == 0 {
		return "nobody"
	}
	return strings.Trim(fmt.Sprint(sources), "[]")
}
