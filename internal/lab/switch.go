package lab

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const bridgeName = "br0"

// Switch joins namespaces into one Ethernet segment: a bridge in a namespace of its own.
type Switch struct {
	ns     *Namespace
	bridge netlink.Link
	ports  map[*Namespace][]string // where the cables of each namespace are
	count  int
}

// Switch adds a switch. Attach is not for concurrent use on the same switch.
func (l *Lab) Switch(name string) (*Switch, error) {
	ns, err := l.Namespace(name)
	if err != nil {
		return nil, err
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := ns.handle.LinkAdd(br); err != nil {
		return nil, wrap("add bridge", err)
	}
	if err := ns.handle.LinkSetUp(br); err != nil {
		return nil, wrap("set bridge up", err)
	}
	return &Switch{ns: ns, bridge: br, ports: map[*Namespace][]string{}}, nil
}

// Namespace returns the namespace that holds the bridge, for a look at all traffic of the segment (`tcpdump -i br0`).
func (s *Switch) Namespace() *Namespace { return s.ns }

// Attach plugs a cable: an interface ifname with the given addresses in ns, its other end on the switch. On return the
// link carries packets.
func (s *Switch) Attach(ns *Namespace, ifname string, prefixes ...netip.Prefix) error {
	port := fmt.Sprintf("port%d", s.count+1)
	if err := cable(s.ns, port, ns, ifname); err != nil {
		return err
	}
	s.count++
	s.ports[ns] = append(s.ports[ns], port)
	link, err := s.ns.handle.LinkByName(port)
	if err != nil {
		return wrap("find "+port, err)
	}
	if err := s.ns.handle.LinkSetMaster(link, s.bridge); err != nil {
		return wrap("put "+port+" on the bridge", err)
	}
	if err := ns.configure(ifname, prefixes); err != nil {
		return err
	}
	return waitUp(s.ns, port, ns, ifname)
}

// Plug pulls all cables of a namespace out of the switch, or puts them in again. The namespace keeps its addresses and
// routes: its interfaces have no carrier meanwhile. After a while its neighbours know it no more, and find it again within
// some seconds after it is back.
func (s *Switch) Plug(ns *Namespace, in bool) error {
	set, doing := s.ns.handle.LinkSetDown, "pull"
	if in {
		set, doing = s.ns.handle.LinkSetUp, "plug in"
	}
	for _, port := range s.ports[ns] {
		link, err := s.ns.handle.LinkByName(port)
		if err == nil {
			err = set(link)
		}
		if err != nil {
			return fmt.Errorf("%s the cable of %s: %w", doing, ns.name, err)
		}
	}
	return nil
}

// Connect plugs a cable straight from one namespace into another.
func (l *Lab) Connect(a, b *Namespace, ifA, ifB string, prefixA, prefixB netip.Prefix) error {
	if err := cable(a, ifA, b, ifB); err != nil {
		return err
	}
	if err := a.configure(ifA, []netip.Prefix{prefixA}); err != nil {
		return err
	}
	if err := b.configure(ifB, []netip.Prefix{prefixB}); err != nil {
		return err
	}
	return waitUp(a, ifA, b, ifB)
}

// cable makes both ends where they belong and sets them up; neither is ever seen in the caller's namespace.
func cable(a *Namespace, ifA string, b *Namespace, ifB string) error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: ifA},
		PeerName:      ifB,
		PeerNamespace: netlink.NsFd(b.fd),
	}
	if err := a.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("cable from %s %s to %s %s: %w", a.name, ifA, b.name, ifB, err)
	}
	for _, end := range []struct {
		ns   *Namespace
		name string
	}{{a, ifA}, {b, ifB}} {
		link, err := end.ns.handle.LinkByName(end.name)
		if err != nil {
			return wrap("find "+end.name, err)
		}
		if err := end.ns.handle.LinkSetUp(link); err != nil {
			return wrap("set "+end.name+" up", err)
		}
	}
	return nil
}

// AddAddress gives an interface one more address, usable at once.
func (ns *Namespace) AddAddress(ifname string, prefix netip.Prefix) error {
	return ns.configure(ifname, []netip.Prefix{prefix})
}

func (ns *Namespace) configure(ifname string, prefixes []netip.Prefix) error {
	link, err := ns.handle.LinkByName(ifname)
	if err != nil {
		return wrap("find "+ifname, err)
	}
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := ns.handle.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to %s of %s: %w", p, ifname, ns.name, err)
		}
	}
	return nil
}

// waitUp returns when both ends are operational. The kernel brings the carrier up a moment after both ends are set up,
// and a bridge port forwards only from then on: a SYN sent earlier costs its sender a second.
func waitUp(a *Namespace, ifA string, b *Namespace, ifB string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		upA, err := a.isUp(ifA)
		if err != nil {
			return err
		}
		upB, err := b.isUp(ifB)
		if err != nil {
			return err
		}
		if upA && upB {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no carrier on %s of %s after 5s", ifA, a.name)
		}
		time.Sleep(time.Millisecond)
	}
}

func (ns *Namespace) isUp(ifname string) (bool, error) {
	link, err := ns.handle.LinkByName(ifname)
	if err != nil {
		return false, wrap("find "+ifname, err)
	}
	return link.Attrs().OperState == netlink.OperUp, nil
}
