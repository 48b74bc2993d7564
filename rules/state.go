package rules

import (
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Placement is what the kernel holds for one frontend. The zero Placement is nothing at all.
type Placement struct {
	Mode    Mode             // for those who may connect; Absent too where only the guard is left of what leads there
	Size    int              // how many slots the mode chooses from
	Slots   []netip.AddrPort // by slot; more than Size after an interrupted change, invalid where one is missing
	Guarded bool             // the frontend's entry leads to the guard, which lets Sources pass and refuses the others
	Sources []netip.Prefix   // sorted, disjoint
	Stale   Lead             // of a frontend that is not guarded: where the guard still leads, after an interrupted change
}

// Lead is where one lookup of a frontend leads: to slots, to a refusal, or to the guard.
type Lead struct {
	Mode  Mode
	Size  int
	Guard bool // to the guard; then there is neither mode nor size
}

// Entry is where the frontend's own entry leads.
func (p Placement) Entry() Lead {
	if p.Guarded {
		return Lead{Guard: true}
	}
	return Lead{Mode: p.Mode, Size: p.Size}
}

// Guard is where the guard leads those whom it lets pass.
func (p Placement) Guard() Lead {
	if p.Guarded {
		return Lead{Mode: p.Mode, Size: p.Size}
	}
	return p.Stale
}

// Admits says whether a client may connect.
func (p Placement) Admits(client netip.Addr) bool { return !p.Guarded || contains(p.Sources, client) }

func (p Placement) slot(i int) netip.AddrPort {
	if i < len(p.Slots) {
		return p.Slots[i]
	}
	return netip.AddrPort{}
}

func (p Placement) equal(q Placement) bool {
	return p.Mode == q.Mode && p.Size == q.Size && slices.Equal(p.Slots, q.Slots) &&
		p.Guarded == q.Guarded && p.Stale == q.Stale && slices.Equal(p.Sources, q.Sources)
}

// guards says whether it lets those pass whom the balancer wants to, and nothing is left of another guard.
func (p Placement) guards(b *Balancer) bool {
	return p.Guarded == b.Guarded && p.Stale == Lead{} && slices.Equal(p.Sources, b.Sources)
}

// holds says whether the slots of a placement are what the balancer asks for: without a table any order of them is.
func (p Placement) holds(b *Balancer) bool {
	switch {
	case p.Mode != b.Mode || p.Size != len(p.Slots):
		return false
	case b.Table != nil:
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
	Local  []cluster.Listener       // sorted
	Placed map[cluster.Frontend]Placement

	// SlotOf is the slot of a client under source affinity, where the driver finds it otherwise than by SourceSlot.
	SlotOf func(p Placement, client netip.Addr) int
	// Path is what a packet with this verdict passes, where the driver's chains are not those of nft.
	Path func(s *State, p Packet, v Verdict) []Step

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
	if p.Local != nil {
		s.Local = p.Local.After
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
		if c.Want.equal(Placement{}) {
			delete(s.Placed, c.Frontend)
		} else {
			s.Placed[c.Frontend] = c.Want
		}
	}
}

// Quarantined are the frontends that the kernel refused.
func (s *State) Quarantined() map[cluster.Frontend]Quarantine { return s.quarantined }
