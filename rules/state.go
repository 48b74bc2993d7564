package rules

import (
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Placement is what the kernel holds for one frontend. The zero Placement is nothing at all.
type Placement struct {
	Mode  Mode
	Size  int              // how many slots the mode chooses from
	Slots []netip.AddrPort // by slot; more than Size after an interrupted change, invalid where one is missing
}

func (p Placement) slot(i int) netip.AddrPort {
	if i < len(p.Slots) {
		return p.Slots[i]
	}
	return netip.AddrPort{}
}

func (p Placement) equal(q Placement) bool {
	return p.Mode == q.Mode && p.Size == q.Size && slices.Equal(p.Slots, q.Slots)
}

// holds says whether a placement is one that the balancer asks for: for Random any order of the slots is.
func (p Placement) holds(b *Balancer) bool {
	switch {
	case p.Mode != b.Mode || p.Size != len(p.Slots):
		return false
	case b.Mode == Source:
		return slices.Equal(p.Slots, b.Table)
	case p.Size != b.Slots():
		return false
	}
	left := make(map[netip.AddrPort]int, len(b.Shares))
	for _, s := range b.Shares {
		left[s.Target] = s.Slots
	}
	for _, target := range p.Slots {
		if left[target]--; left[target] < 0 {
			return false
		}
	}
	return true
}

// Damage is something around the frontends that is not as it should be: a rule, a chain, a whole table.
type Damage struct {
	Object string // "ip chain dispatch"
	What   string // "rule 2 differs"
	Mend   any    // the driver's own note of how to mend it; everybody else passes it on
}

// State is what the kernel holds, as a driver last verified it. Its owner changes it only through Commit.
type State struct {
	Damage []Damage
	Sets   [setCount][]netip.Prefix // sorted
	Placed map[cluster.Frontend]Placement

	// For every frontend whose balancer is the same pointer in reached, Placed is right; those in unsettled are looked
	// at again each time. This is what lets Diff skip what did not change.
	reached     *Ruleset
	unsettled   map[cluster.Frontend]bool
	quarantined map[cluster.Frontend]Quarantine
}

// Quarantine says that the kernel refused what a frontend should become. It keeps what it had, and is tried again when
// its balancer changes.
type Quarantine struct {
	Balancer *Balancer
	Reason   string
}

// NewState is an empty kernel.
func NewState() *State { return &State{Placed: map[cluster.Frontend]Placement{}} }

// Commit records that a plan was applied.
func (s *State) Commit(p *Plan) {
	s.Damage = nil
	for _, set := range p.Sets {
		s.Sets[set.Set] = set.After
	}
	s.place(p.Changes)
	s.reached, s.unsettled = p.want, p.skipped
	for f := range s.quarantined {
		if !p.skipped[f] {
			delete(s.quarantined, f)
		}
	}
}

func (s *State) place(changes []Change) {
	for _, c := range changes {
		if c.Want.Mode == Absent {
			delete(s.Placed, c.Frontend)
		} else {
			s.Placed[c.Frontend] = c.Want
		}
	}
}

// Quarantined are the frontends that the kernel refused.
func (s *State) Quarantined() map[cluster.Frontend]Quarantine { return s.quarantined }
