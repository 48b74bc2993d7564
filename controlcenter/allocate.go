package controlcenter

import (
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// allocate chooses a VIP for each address family of the instances (IPv4 when there are none yet): the lowest address of
// the pools that nobody holds.
func (l *ledger) allocate(s *cluster.Service) ([]netip.Addr, *cluster.Problem) {
	want4, want6 := len(s.Instances)+len(l.registered(s.Name)) == 0, false
	for _, i := range append(l.registered(s.Name), s.Instances...) {
		want4, want6 = want4 || i.Addr.Is4(), want6 || i.Addr.Is6()
	}
	var vips []netip.Addr
	for _, family := range []struct {
		wanted bool
		name   string
		is     func(netip.Addr) bool
	}{{want4, "IPv4", netip.Addr.Is4}, {want6, "IPv6", netip.Addr.Is6}} {
		if !family.wanted {
			continue
		}
		vip := l.lowestFree(family.is)
		if !vip.IsValid() {
			what := "no VIP is given, and there is no pool of VIPs"
			if pools := l.pools(); len(pools) > 0 {
				what = fmt.Sprintf("no VIP is given, and the VIP pools %v have no free %s address", pools, family.name)
			}
			return nil, &cluster.Problem{
				Object: "service " + s.Name, Field: "vips", What: what,
				Fix: "give one under vips, or add a pool with weir controlcenter config",
			}
		}
		vips = append(vips, vip)
	}
	return vips, nil
}

func (l *ledger) pools() []netip.Prefix {
	if l.config == nil {
		return nil
	}
	return l.config.VIPPools
}

func (l *ledger) lowestFree(family func(netip.Addr) bool) netip.Addr {
	for _, pool := range l.pools() {
		if !family(pool.Addr()) {
			continue
		}
		a := pool.Masked().Addr()
		whole := a.BitLen()-pool.Bits() <= 1 // a /31 or /32 has no network and broadcast address
		if !whole {
			a = a.Next()
		}
		for ; pool.Contains(a); a = a.Next() {
			if last := !pool.Contains(a.Next()); last && !whole && a.Is4() {
				break // the broadcast address
			}
			if len(l.vips[a]) == 0 && len(l.hosts[a]) == 0 {
				return a
			}
		}
	}
	return netip.Addr{}
}
