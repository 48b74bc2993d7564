package lab

import (
	"errors"
	"fmt"
	"net/netip"
)

// The last parts of the addresses in 192.168.10.0/24 and fd00:10::/64, written alike in both families.
const (
	firstNode     = 1
	clientAddress = 50
	firstInstance = 100
	lastInstance  = 250
)

// Cluster is the network most tests need: nodes that route, hosts for instances, and one client, all on one switch.
type Cluster struct {
	Switch    *Switch
	Nodes     []*Host // n1, n2, ... at .1, .2, ...: they forward packets
	Instances []*Host // i1, i2, ... at .100, .101, ...
	Client    *Host   // client at .50: no node, reaches VIPs only by RouteVIPs
}

// Host is a machine with one address of each family on interface eth0.
type Host struct {
	*Namespace
	Addr4, Addr6 netip.Addr
}

// NewCluster builds a cluster: 1 to 49 nodes, up to 151 instances. No host has a route beyond the switch.
func NewCluster(l *Lab, nodes, instances int) (*Cluster, error) {
	if nodes < 0 || nodes >= clientAddress || instances < 0 || instances > lastInstance-firstInstance+1 {
		return nil, fmt.Errorf("cluster of %d nodes and %d instances: want at most %d and %d",
			nodes, instances, clientAddress-1, lastInstance-firstInstance+1)
	}
	sw, err := l.Switch("switch")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Switch: sw}
	for i := range nodes {
		h, err := c.addNode(l, i)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, h)
	}
	for i := range instances {
		h, err := c.addHost(l, fmt.Sprintf("i%d", i+1), firstInstance+i)
		if err != nil {
			return nil, err
		}
		c.Instances = append(c.Instances, h)
	}
	c.Client, err = c.addHost(l, "client", clientAddress)
	return c, err
}

func (c *Cluster) addNode(l *Lab, i int) (*Host, error) {
	h, err := newHost(l, fmt.Sprintf("n%d", i+1), firstNode+i)
	if err != nil {
		return nil, err
	}
	// Before the interface exists, which takes its values from "default" at birth.
	err = errors.Join(
		h.Sysctl("net.ipv4.ip_forward", "1"),
		h.Sysctl("net.ipv6.conf.all.forwarding", "1"),
		h.Sysctl("net.ipv4.conf.all.rp_filter", "0"),
		h.Sysctl("net.ipv4.conf.default.rp_filter", "0"),
	)
	if err != nil {
		return nil, err
	}
	return h, c.attach(h)
}

func (c *Cluster) addHost(l *Lab, name string, last int) (*Host, error) {
	h, err := newHost(l, name, last)
	if err != nil {
		return nil, err
	}
	return h, c.attach(h)
}

func newHost(l *Lab, name string, last int) (*Host, error) {
	ns, err := l.Namespace(name)
	if err != nil {
		return nil, err
	}
	addr6, err := netip.ParseAddr(fmt.Sprintf("fd00:10::%d", last)) // decimal digits, read as hex: .100 is ::100
	return &Host{Namespace: ns, Addr4: netip.AddrFrom4([4]byte{192, 168, 10, byte(last)}), Addr6: addr6}, err
}

func (c *Cluster) attach(h *Host) error {
	return c.Switch.Attach(h.Namespace, "eth0", netip.PrefixFrom(h.Addr4, 24), netip.PrefixFrom(h.Addr6, 64))
}

// RouteVIPs has a host send packets for the prefixes to a node, in place of the node it used before.
func (c *Cluster) RouteVIPs(from, via *Host, prefixes ...netip.Prefix) error {
	for _, p := range prefixes {
		gateway := via.Addr4
		if p.Addr().Is6() {
			gateway = via.Addr6
		}
		if err := from.Route(p, gateway); err != nil {
			return err
		}
	}
	return nil
}

// Hosts returns all machines of the cluster: nodes, instances, client.
func (c *Cluster) Hosts() []*Host {
	hosts := append([]*Host{}, c.Nodes...)
	hosts = append(hosts, c.Instances...)
	return append(hosts, c.Client)
}
