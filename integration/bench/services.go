package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// The services that are measured with: one VIP out of a pool and one TCP port each, five instances of equal weight, no
// address twice.
const instancesEach = 5

var (
	pool      = netip.MustParsePrefix("10.96.0.0/12")
	instances = netip.MustParseAddr("10.128.0.0")
	fresh     = netip.MustParseAddr("172.16.0.0") // of instances that come later
)

// plus is the address n behind another.
func plus(a netip.Addr, n int) netip.Addr {
	four := a.As4()
	binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(four[:])+uint32(n))
	return netip.AddrFrom4(four)
}

func vipOf(i int) netip.Addr { return plus(pool.Addr(), i+1) }

func nameOf(i int) string { return fmt.Sprintf("service-%05d", i) }

func instanceAt(a netip.Addr) cluster.Instance {
	return cluster.Instance{ID: netip.AddrPortFrom(a, 8080).String(), Addr: a, Port: 8080, Weight: 1}
}

// serviceOf is the i-th service as it is published first.
func serviceOf(i int) *cluster.Service {
	s := &cluster.Service{
		Name: nameOf(i), VIPs: []netip.Addr{vipOf(i)}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		CreateRevision: int64(i + 2), ModRevision: int64(i + 2),
	}
	for j := range instancesEach {
		s.Instances = append(s.Instances, instanceAt(plus(instances, i*instancesEach+j)))
	}
	return s
}

// draft holds n services as a watch would have put them there. The first adaptive of them take their weights from the
// leader.
func draft(n, adaptive int) *cluster.Draft {
	d := cluster.NewDraft()
	d.Config(&cluster.Config{VIPPools: []netip.Prefix{pool}})
	d.Ready(true)
	for i := range n {
		s := serviceOf(i)
		if i < adaptive {
			s.Balance = cluster.BalanceAdaptive
		}
		d.Service(s.Name, s)
	}
	return d
}
