package main

import (
	"net/netip"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// measureFeatures compares what a connection through a VIP costs with and without affinity, sources, and the counting of
// local instances, in blocks that take turns as those of measureConnect do.
func measureFeatures(t *trial) {
	l, err := lab.New("bench")
	t.must(err)
	t.Cleanup(func() { t.must(l.Close()) })
	network, err := lab.NewCluster(l, 6, 1)
	t.must(err)
	host := network.Instances[0]
	c := &crossing{acceptor: newAcceptor(t, host.Namespace)}
	serve := func(node *lab.Host, o rules.Options, change func(*cluster.Service)) []*unix.RawSockaddrInet4 {
		t.must(node.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"))
		return serveOne(t, l, node, host.Addr4, o, change)
	}
	as := func(*cluster.Service) {}
	n := network.Nodes
	c.ways = []*way{
		{name: "VIP", host: n[0], to: serve(n[0], rules.Options{}, as)},
		{name: "VIP again", host: n[1], to: serve(n[1], rules.Options{}, as)},
		{name: "affinity", host: n[2], to: serve(n[2], rules.Options{}, func(s *cluster.Service) { s.Affinity = cluster.AffinitySource })},
		{name: "sources", host: n[3], to: serve(n[3], rules.Options{}, func(s *cluster.Service) { s.Sources = []netip.Prefix{netip.PrefixFrom(n[3].Addr4, 24).Masked()} })},
		{name: "not counted", host: n[4], to: serve(n[4], rules.Options{}, as)},
		{name: "counted", host: n[5], to: serve(n[5], rules.Options{Node: "instances"}, as)},
	}
	uncount(t, n[4])
	for turn := range pick(t, 60, 20) + 1 { // the first warms up
		runtime.GC()
		for i := range c.ways {
			c.block(t, c.ways[(i+turn)%len(c.ways)])
		}
	}
	for _, w := range c.ways {
		w.p50, w.rate = w.p50[1:], w.rate[1:]
		t.report(w.row())
	}
	t.report(compare(c.ways[0], c.ways[1]))
	for _, pair := range [][2]*way{{c.ways[0], c.ways[2]}, {c.ways[0], c.ways[3]}, {c.ways[4], c.ways[5]}} {
		row := compare(pair[0], pair[1])
		t.report(row.want("interval ends <= 1.05", row.Numbers["high"] <= 1.05))
	}
}

// serveOne loads one service with one instance, which runs on a node called instances.
func serveOne(t *trial, l *lab.Lab, host *lab.Host, instance netip.Addr, o rules.Options, change func(*cluster.Service)) []*unix.RawSockaddrInet4 {
	d, s := draft(0, 0), serviceOf(0)
	s.Instances = []cluster.Instance{instanceAt(instance)}
	change(s)
	d.Service(s.Name, s)
	d.Node("instances", &cluster.Node{Addresses: []netip.Addr{instance}})
	driver, err := nft.New(nft.Options{NetNS: int(host.Netns()), Ownership: nft.OwnOff})
	t.must(err)
	t.Cleanup(func() { _ = driver.Close() })
	k := &kernel{lab: l, ns: host.Namespace, driver: driver, options: o}
	k.read(t)
	k.bring(t, d.Snapshot(9))
	routeVIPs(t, host)
	return addressesOf([]netip.Addr{s.VIPs[0]}, s.Ports[0].Port)
}

// uncount takes away the chains that count, as if there were no such feature.
func uncount(t *trial, host *lab.Host) {
	cmd := exec.Command("nft", "delete chain ip weir local-out; delete chain ip weir local-in")
	cmd.Stderr = t.log
	t.must(host.Run(cmd))
}
