package controlcenter

import (
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// Counts are new connections by frontend and target, as one node's kernel counted them.
type Counts map[cluster.Frontend]map[netip.AddrPort]uint64

// Since is what was counted after an earlier reading. A count that fell began anew with its slot.
func (c Counts) Since(before Counts) Counts {
	out := Counts{}
	for f, targets := range c {
		out[f] = map[netip.AddrPort]uint64{}
		for target, n := range targets {
			if old := before[f][target]; old <= n {
				n -= old
			}
			out[f][target] = n
		}
	}
	return out
}

// AddHave fills in what share of the counted connections each instance really got, where any were counted: to be held
// against the share that it should get.
func AddHave(rows []InstanceRow, s *cluster.Snapshot, counts Counts) {
	have, sums := map[[2]string]uint64{}, map[haveGroup]uint64{}
	for name, in := range s.Services.All() {
		for _, i := range cluster.Resolve(in).Instances {
			for _, f := range in.Service.Frontends() {
				target, ok := i.Instance.Target(portOf(in.Service, f))
				if !ok || target.Addr().Is4() != f.VIP.Is4() {
					continue
				}
				n := counts[f][target]
				have[[2]string{name, i.Instance.ID}] += n
				sums[haveGroup{name, f.VIP.Is4()}] += n
			}
		}
	}
	for i, row := range rows {
		address, _ := cluster.ParseInstance(row.Address)
		if sum := sums[haveGroup{row.Service, address.Addr.Is4()}]; sum > 0 {
			share := 100 * float64(have[[2]string{row.Service, row.ID}]) / float64(sum)
			rows[i].Have = &share
		}
	}
}

// haveGroup is what shares add up in: connections to an IPv4 VIP can only go to IPv4 instances.
type haveGroup struct {
	service string
	v4      bool
}

func portOf(s *cluster.Service, f cluster.Frontend) cluster.Port {
	for _, p := range s.Ports {
		if p.Port == f.Port && p.Protocol == f.Proto {
			return p
		}
	}
	return cluster.Port{}
}
