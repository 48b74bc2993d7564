package agent

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
	"github.com/weir-lb/weir/rules"
)

// sorting is one walk through the table of tracked connections. It picks what has to end and counts what drains.
type sorting struct {
	todo
	departures *departures
	kill       bool

	counts map[string]int                // live connections, by "service/instance"
	live   map[route]bool                // where the live connections to removed instances lead
	known  map[string]map[route]departed // instances of services, looked up when an entry calls for it
}

func newSorting(todo todo, d *departures, kill bool) *sorting {
	return &sorting{todo: todo, departures: d, kill: kill, counts: map[string]int{}, live: map[route]bool{}, known: map[string]map[route]departed{}}
}

// pick says whether an entry has to end.
func (s *sorting) pick(e conntrack.Entry) bool {
	proto := cluster.Proto(e.Proto)
	switch {
	case live(e):
		return s.established(e)
	case proto == cluster.UDP, !e.Replied && (proto == cluster.TCP || proto == cluster.SCTP):
		return s.stale(e)
	}
	return false
}

// live says whether an entry is a TCP connection that both sides still hold.
func live(e conntrack.Entry) bool {
	return e.Proto == unix.IPPROTO_TCP && e.Replied && !e.Ending()
}

// stale says whether an entry is ours and leads to no wanted target. The VIP itself as the source of replies means that
// the flow began while the rules were away: it is stuck.
func (s *sorting) stale(e conntrack.Entry) bool {
	f := frontendOf(e)
	balancer, known := s.ruleset.Balancers.Get(f)
	switch {
	case s.quarantined[f]:
		return false // the kernel holds something else than is wanted, and would choose the same again
	case known:
		return !balancer.Leads(e.Answers)
	}
	return s.gone[f] || s.ourVIP(f.VIP)
}

// established counts a live connection to an instance that an operator took out, and says whether it has to end, because
// the instance is dead and that was asked for.
func (s *sorting) established(e conntrack.Entry) bool {
	r := route{frontendOf(e), e.Answers}
	balancer, known := s.ruleset.Balancers.Get(r.frontend)
	if known && balancer.Leads(r.target) {
		return false
	}
	d, found := s.departures.find(r)
	if !found && known && !s.instance(balancer.Service, r) {
		// Removed while nobody watched.
		d = departed{name: balancer.Service + "/" + r.target.String(), counted: true}
	}
	if d.dead && s.kill {
		return true
	}
	if d.counted {
		s.counts[d.name]++
	}
	if d.out() {
		s.live[r] = true
	}
	return false
}

// instance says whether a service has an instance there, whatever its state.
func (s *sorting) instance(service string, r route) bool {
	routes, looked := s.known[service]
	if !looked {
		in, _ := s.snapshot.Services.Get(service)
		routes = routesOf(in)
		s.known[service] = routes
	}
	_, found := routes[r]
	return found
}

// concerns says whether an entry of a family may be ours.
func (s *sorting) concerns(family uint8) bool {
	of := func(a netip.Addr) bool { return conntrack.Family(a) == family }
	for f := range s.gone {
		if of(f.VIP) {
			return true
		}
	}
	for r := range s.departures.removed {
		if of(r.frontend.VIP) {
			return true
		}
	}
	return slices.ContainsFunc(s.ruleset.Sets[rules.VIPs], func(p netip.Prefix) bool { return of(p.Addr()) })
}

func (s *sorting) ourVIP(a netip.Addr) bool {
	return slices.ContainsFunc(s.ruleset.Sets[rules.VIPs], func(p netip.Prefix) bool { return p.Contains(a) })
}

func frontendOf(e conntrack.Entry) cluster.Frontend {
	return cluster.Frontend{VIP: e.To.Addr(), Proto: cluster.Proto(e.Proto), Port: e.To.Port()}
}
