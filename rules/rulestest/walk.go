package rulestest

import (
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// walk is a packet that looks at one generation after another: at the frontend's entry, at the guard's sources, at where
// the guard leads, and at the slots.
type walk struct{ entries, sources, guards, slots generation }

// check looks for packets that are lost or refused although both generations serve them, and for those that pass
// although both refuse them. A packet never looks at an older generation than before; but the sources, an interval set,
// may be seen a moment later than the rest.
func (f *Fake) check(next generation) {
	now := f.now
	walks := []walk{{now, now, now, next}, {now, now, next, next}, {now, next, next, next}, {next, now, next, next}, {next, next, next, next}}
	frontends := now.frontends()
	for frontend := range next.frontends() {
		frontends[frontend] = true
	}
	for frontend := range frontends {
		for _, client := range clients(frontend, now, next) {
			served := [2]bool{now.serves(frontend, client), next.serves(frontend, client)}
			shut := [2]bool{now.shuts(frontend, client), next.shuts(frontend, client)}
			for i, w := range walks {
				lead, admitted := w.lead(frontend, client)
				switch {
				case served == [2]bool{true, true} && !admitted:
					f.Lost = append(f.Lost, fmt.Sprintf("%s: walk %d refuses %s, which both generations admit", frontend, i, client))
				case shut == [2]bool{true, true} && admitted:
					f.Lost = append(f.Lost, fmt.Sprintf("%s: walk %d admits %s, which both generations refuse", frontend, i, client))
				case admitted && next.leads(frontend):
					f.missing(frontend, lead, next)
				}
			}
		}
	}
}

// missing looks for slots that are not there.
func (f *Fake) missing(frontend cluster.Frontend, lead rules.Lead, in generation) {
	for n := range lead.Size {
		if _, ok := in.slots[slot{frontend, n}]; !ok {
			f.Lost = append(f.Lost, fmt.Sprintf("%s: sent to one of %d slots, slot %d missing", frontend, lead.Size, n))
		}
	}
}

// lead is where a packet is sent, and whether it is let pass at all.
func (w walk) lead(f cluster.Frontend, client netip.Addr) (rules.Lead, bool) {
	entry := w.entries.entries[f]
	if !entry.Guard {
		return entry, true
	}
	guard, ok := w.guards.guards[f]
	return guard, ok && contains(w.sources.sources[f], client)
}

// clients are some that the generations may treat differently: the first of each source, and one outside of all.
func clients(f cluster.Frontend, generations ...generation) []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	if f.VIP.Is6() {
		out[0] = netip.MustParseAddr("2001:db8::1")
	}
	for _, g := range generations {
		for _, p := range g.sources[f] {
			out = append(out, p.Addr())
		}
	}
	return out
}

// leads says whether somebody is sent to a target.
func (g generation) leads(f cluster.Frontend) bool {
	entry := g.entries[f]
	return entry.Size > 0 || entry.Guard && g.guards[f].Size > 0
}

// serves says whether a client is sent to a target.
func (g generation) serves(f cluster.Frontend, client netip.Addr) bool {
	lead, admitted := walk{g, g, g, g}.lead(f, client)
	return admitted && lead.Size > 0
}

// shuts says whether a client is not let pass.
func (g generation) shuts(f cluster.Frontend, client netip.Addr) bool {
	_, admitted := walk{g, g, g, g}.lead(f, client)
	return !admitted
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
