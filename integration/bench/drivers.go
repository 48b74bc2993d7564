package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// drivers are compared at a size that iptables is still meant for.
var drivers = []string{"nft", "ipt-nft", "ipt-legacy"}

const driversServices = 1000

// measureDrivers loads a thousand services with each driver, changes one at a time, and connects through them.
func measureDrivers(t *trial) {
	for _, name := range drivers {
		t.report(driverRows(t, name)...)
	}
	c := newDriverCrossing(t)
	for n := range pick(t, 30, 10) + 1 { // the first warms up
		runtime.GC()
		for i := range c.ways {
			c.block(t, c.ways[(i+n)%len(c.ways)])
		}
	}
	for _, w := range c.ways {
		w.p50, w.rate = w.p50[1:], w.rate[1:]
		t.report(w.row())
	}
	for _, w := range c.ways[1:] {
		t.report(compare(c.ways[0], w))
	}
}

func driverRows(t *trial, name string) []Row {
	var loads, changes []time.Duration
	for range pick(t, 7, 3) {
		l, err := lab.New("bench")
		t.must(err)
		ns, err := l.Namespace("kernel")
		t.must(err)
		k, d := kernelWith(t, l, ns, name), draft(driversServices, 0)
		start := time.Now()
		k.read(t)
		k.bring(t, d.Snapshot(1<<40))
		loads = append(loads, time.Since(start))
		for n := range 20 {
			s := serviceOf(n * 47 % driversServices)
			s.Instances[n%instancesEach] = instanceAt(plus(fresh, n))
			s.ModRevision = 1<<40 + int64(n)
			d.Service(s.Name, s)
			changes = append(changes, k.bring(t, d.Snapshot(1<<40+int64(n)+1)).all())
		}
		k.close(t)
	}
	load := median(fmt.Sprintf("%d services x %d, snapshot to empty kernel, %s", driversServices, instancesEach, name), loads)
	change := p50p99(fmt.Sprintf("an instance replaced, at %d services, snapshot to kernel, %s", driversServices, name), changes)
	if name == "nft" {
		return []Row{load, change}
	}
	took, p50 := load.Numbers["median_s"], change.Numbers["p50_ms"]
	return []Row{load.want("<= 2 s", took <= 2), change.want("p50 <= 150 ms", p50 <= 150)}
}

func newDriverCrossing(t *trial) *crossing {
	l, err := lab.New("bench")
	t.must(err)
	t.Cleanup(func() { t.must(l.Close()) })
	network, err := lab.NewCluster(l, 1+len(drivers), 1)
	t.must(err)
	instance := network.Instances[0]
	c := &crossing{acceptor: newAcceptor(t, instance.Namespace)}
	direct := network.Nodes[0]
	loadTable(t, direct, "chain keep {\n ct state established\n }") // the least that has connections tracked
	c.ways = []*way{{name: "direct, tracked", host: direct, to: addressesOf([]netip.Addr{instance.Addr4}, instancePort)}}
	for i, name := range drivers {
		node := network.Nodes[i+1]
		to := serveWith(t, kernelWith(t, l, node.Namespace, name), node, driversServices, []netip.Addr{instance.Addr4})
		c.ways = append(c.ways, &way{name: fmt.Sprintf("VIP, %d services, %s", driversServices, name), host: node, to: to})
	}
	for _, node := range network.Nodes {
		t.must(node.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"))
	}
	return c
}
