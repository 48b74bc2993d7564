package main

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// measureConnect compares what a connection costs a client on a node: straight to an instance, and through a VIP. Each
// way has a node of its own; all lead to the same five instances. Blocks of connections take turns, and what counts is
// each block's ratio to the plain block beside it, so that what disturbs the machine disturbs both.
func measureConnect(t *trial) {
	c := newCrossing(t)
	blocks := pick(t, 30, 10)
	for n := range blocks + 1 { // the first warms up
		runtime.GC()
		for i := range c.ways {
			c.block(t, c.ways[(i+n)%len(c.ways)]) // each way comes first, last, and in between
		}
	}
	for _, w := range c.ways {
		w.p50, w.rate = w.p50[1:], w.rate[1:]
		t.report(w.row())
	}
	plain, again, tracked, single, few, many := c.ways[0], c.ways[1], c.ways[2], c.ways[3], c.ways[4], c.ways[5]
	t.report(compare(plain, again), compare(plain, tracked), compare(tracked, single), compare(tracked, few))
	worst := compare(tracked, many)
	t.report(worst.want("interval ends <= 1.10", worst.Numbers["high"] <= 1.10), compare(single, many))
}

// blockSize is how many connections a block has.
const blockSize = 1000

// way is one way to reach the instances.
type way struct {
	name    string
	host    *lab.Host
	to      []*unix.RawSockaddrInet4
	p50     []float64 // of each block, in microseconds
	rate    []float64 // connections a second
	scratch [blockSize]time.Duration
}

// crossing is the network: client nodes and one host that has all instances.
type crossing struct {
	acceptor acceptor
	ways     []*way
}

func newCrossing(t *trial) *crossing {
	l, err := lab.New("bench")
	t.must(err)
	t.Cleanup(func() { t.must(l.Close()) })
	network, err := lab.NewCluster(l, 6, 1)
	t.must(err)
	host := network.Instances[0]
	addresses := []netip.Addr{host.Addr4}
	for i := range instancesEach - 1 {
		a := plus(host.Addr4, i+1)
		t.must(host.AddAddress("eth0", netip.PrefixFrom(a, 24)))
		addresses = append(addresses, a)
	}
	c := &crossing{acceptor: newAcceptor(t, host.Namespace)}
	direct := addressesOf(addresses, instancePort)
	n := network.Nodes
	for _, node := range n {
		t.must(node.Sysctl("net.ipv4.ip_local_port_range", "1024 65535"))
	}
	loadTable(t, n[2], "chain keep {\n ct state established\n }") // the least that has connections tracked: no packet meets it
	c.ways = []*way{
		{name: "direct", host: n[0], to: direct},
		{name: "direct again", host: n[1], to: direct},
		{name: "direct, tracked", host: n[2], to: direct},
		{name: "one DNAT rule by hand", host: n[3], to: translate(t, n[3], addresses[0])},
		{name: "VIP, 1 service", host: n[4], to: serve(t, l, n[4], 1, addresses)},
		{name: "VIP, 10000 services", host: n[5], to: serve(t, l, n[5], 10_000, addresses)},
	}
	return c
}

func addressesOf(addresses []netip.Addr, port uint16) (out []*unix.RawSockaddrInet4) {
	for _, a := range addresses {
		out = append(out, rawAddress(netip.AddrPortFrom(a, port)))
	}
	return out
}

// loadTable loads a table that is not ours.
func loadTable(t *trial, host *lab.Host, chain string) {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stderr, cmd.Stdin = t.log, strings.NewReader("table ip bench {\n "+chain+"\n}\n")
	t.must(host.Run(cmd))
}

// translate is the cheapest way through a VIP that nftables has: one rule, one instance.
func translate(t *trial, host *lab.Host, instance netip.Addr) []*unix.RawSockaddrInet4 {
	loadTable(t, host, fmt.Sprintf("chain out {\n type nat hook output priority -100;\n ip daddr %s tcp dport 80 dnat to %s:%d\n }", vipOf(0), instance, instancePort))
	routeVIPs(t, host)
	return addressesOf([]netip.Addr{vipOf(0)}, 80)
}

// serve loads n services, of which one in the middle has the given instances.
func serve(t *trial, l *lab.Lab, host *lab.Host, n int, addresses []netip.Addr) []*unix.RawSockaddrInet4 {
	return serveWith(t, kernelIn(t, l, host.Namespace), host, n, addresses)
}

func serveWith(t *trial, k *kernel, host *lab.Host, n int, addresses []netip.Addr) []*unix.RawSockaddrInet4 {
	d, s := draft(n, 0), serviceOf(n/2)
	s.Instances = nil
	for _, a := range addresses {
		s.Instances = append(s.Instances, instanceAt(a))
	}
	s.ModRevision = 1 << 40
	d.Service(s.Name, s)
	k.read(t)
	k.bring(t, d.Snapshot(1<<40))
	routeVIPs(t, host)
	return addressesOf([]netip.Addr{s.VIPs[0]}, s.Ports[0].Port)
}

// routeVIPs sets the route that an agent would set.
func routeVIPs(t *trial, host *lab.Host) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "weir0"}}
	t.must(host.Handle().LinkAdd(bridge))
	t.must(host.Handle().LinkSetUp(bridge))
	destination := &net.IPNet{IP: pool.Addr().AsSlice(), Mask: net.CIDRMask(pool.Bits(), 32)}
	t.must(host.Handle().RouteAdd(&netlink.Route{Dst: destination, LinkIndex: bridge.Index, Scope: netlink.SCOPE_LINK, Src: host.Addr4.AsSlice()}))
}

// block opens connections one after the other.
func (c *crossing) block(t *trial, w *way) {
	t.must(w.host.Do(func() error {
		start := time.Now()
		for i := range w.scratch {
			took, err := c.acceptor.connect(w.to[i%len(w.to)])
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			w.scratch[i] = took
		}
		w.rate = append(w.rate, blockSize/time.Since(start).Seconds())
		return nil
	}))
	slices.Sort(w.scratch[:])
	w.p50 = append(w.p50, float64(quantile(w.scratch[:], 0.5))/float64(time.Microsecond))
}

func (w *way) row() Row {
	p50, low, high := interval(w.p50)
	rate, _, _ := interval(w.rate)
	return Row{
		What:    "TCP connect on a node: " + w.name,
		Value:   fmt.Sprintf("%.1f us (%.1f..%.1f), %.0f connections/s", p50, low, high, rate),
		Numbers: map[string]float64{"p50_us": p50, "low_us": low, "high_us": high, "per_s": rate},
	}
}

// compare is the median of the block ratios of two ways.
func compare(base, w *way) Row {
	ratios, rates := make([]float64, len(base.p50)), make([]float64, len(base.p50))
	for i := range ratios {
		ratios[i], rates[i] = w.p50[i]/base.p50[i], w.rate[i]/base.rate[i]
	}
	ratio, low, high := interval(ratios)
	rate, _, _ := interval(rates)
	return Row{
		What:    fmt.Sprintf("connect: %s / %s", w.name, base.name),
		Value:   fmt.Sprintf("%.3f (%.3f..%.3f), rate %.3f", ratio, low, high, rate),
		Numbers: map[string]float64{"ratio": ratio, "low": low, "high": high, "rate_ratio": rate, "blocks": float64(len(ratios))},
	}
}
