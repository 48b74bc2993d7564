package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/conntrack"
)

const (
	// routeProtocol marks our routes, so that we find them again and touch no others.
	routeProtocol netlink.RouteProtocol = 87
	// routeLink is a bridge without ports. Should the rules ever be away, a packet to a VIP ends there: it neither loops
	// nor reaches local listeners, as over lo.
	routeLink = "weir0"
)

// router is what a pass asks of the node's routes.
type router interface {
	remove(want []netip.Prefix) error
	add(want []netip.Prefix) error
	watch(ctx context.Context, kick func()) error
	doubt()
}

// routes leads packets of local clients to the rules: without a route to the VIP they would never reach the output hook.
// The route's source is the node's own address, so that replies come back.
//
// IPv6 goes over lo: the kernel turns that into a route that discards, which is as safe as the bridge.
type routes struct {
	addrs   []netip.Addr // of the configuration
	set     []netip.Prefix
	kept    bool        // some that are not wanted are still there
	touched atomic.Bool // the node's routes or addresses may be other than when they were set
}

func newRoutes(addrs []netip.Addr) *routes {
	r := &routes{addrs: addrs}
	r.touched.Store(true)
	return r
}

// settled spares a change of rules the listing of all routes: ten thousand VIPs without a pool are as many routes.
func (r *routes) settled(want []netip.Prefix) bool {
	return !r.touched.Load() && !r.kept && slices.Equal(want, r.set)
}

// remove deletes our routes to what is not wanted, but for those that live connections of this node still take: without a
// route their next packet would be their last. Such a route goes with a later pass.
func (r *routes) remove(want []netip.Prefix) error {
	if r.settled(want) {
		return nil
	}
	have, err := ours()
	if err != nil {
		return err
	}
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, p := range want {
		wanted[p] = true
	}
	doomed := slices.DeleteFunc(have, func(route netlink.Route) bool { return wanted[prefixOf(route.Dst)] })
	used := inUse(doomed)
	r.kept = len(used) > 0
	var errs []error
	for _, route := range doomed {
		p := prefixOf(route.Dst)
		if used[p] {
			continue
		}
		if err := netlink.RouteDel(&route); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("delete route to %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// inUse are the prefixes of routes that live connections lead to. Where they cannot be listed there are none: a route that
// stays for ever would be worse.
func inUse(routes []netlink.Route) map[netip.Prefix]bool {
	var prefixes []netip.Prefix
	families := map[uint8]bool{}
	for _, route := range routes {
		p := prefixOf(route.Dst)
		prefixes = append(prefixes, p)
		families[conntrack.Family(p.Addr())] = true
	}
	used := map[netip.Prefix]bool{}
	for family := range families {
		_, _ = conntrack.List(family, func(e conntrack.Entry) bool {
			if live(e) {
				for _, p := range prefixes {
					if p.Contains(e.To.Addr()) {
						used[p] = true
					}
				}
			}
			return false
		})
	}
	return used
}

// add sets the routes that are missing or lead elsewhere.
func (r *routes) add(want []netip.Prefix) error {
	if r.settled(want) {
		return nil
	}
	r.touched.Store(false) // before looking: what changes from here on counts
	if err := r.replace(want); err != nil {
		r.touched.Store(true)
		return err
	}
	r.set = want
	return nil
}

func (r *routes) replace(want []netip.Prefix) error {
	have, err := ours()
	if err != nil {
		return err
	}
	present := map[netip.Prefix]netlink.Route{}
	for _, route := range have {
		present[prefixOf(route.Dst)] = route
	}
	sources, err := r.sources(want)
	if err != nil {
		return err
	}
	links := map[bool]int{}
	var errs []error
	for _, p := range want {
		v4 := p.Addr().Is4()
		if links[v4] == 0 {
			if links[v4], err = linkFor(v4); err != nil {
				return err
			}
		}
		route := netlink.Route{Dst: ipNet(p), LinkIndex: links[v4], Protocol: routeProtocol, Scope: netlink.SCOPE_LINK}
		if !v4 {
			route.Scope = netlink.SCOPE_UNIVERSE
		}
		if source := sources[v4]; source.IsValid() {
			route.Src = source.AsSlice()
		}
		if old, ok := present[p]; ok && old.LinkIndex == route.LinkIndex && old.Src.Equal(route.Src) {
			continue
		}
		if err := netlink.RouteReplace(&route); err != nil {
			errs = append(errs, fmt.Errorf("route to %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// ours are all routes with our mark.
func ours() ([]netlink.Route, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// linkFor is the link that VIP routes go over.
func linkFor(v4 bool) (int, error) {
	if !v4 {
		return linkIndex("lo")
	}
	link, err := netlink.LinkByName(routeLink)
	if err != nil {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: routeLink}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return linkIndex("lo") // a kernel without bridges
		}
		link = bridge
	}
	// Also when it was there: somebody may have set it down, and then it takes no route.
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return 0, fmt.Errorf("set %s up: %w", routeLink, err)
		}
	}
	return linkIndex(routeLink)
}

func linkIndex(name string) (int, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// sources are the node's addresses for each family: those of the configuration, else the first of the link that has the
// default route, else the first at all.
func (r *routes) sources(vips []netip.Prefix) (map[bool]netip.Addr, error) {
	out := map[bool]netip.Addr{}
	for _, a := range r.addrs {
		out[a.Is4()] = a
	}
	if len(out) == 2 || len(vips) == 0 {
		return out, nil
	}
	candidates, err := candidates()
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		v4 := c.addr.Is4()
		if vip := slices.ContainsFunc(vips, func(p netip.Prefix) bool { return p.Contains(c.addr) }); !vip && !out[v4].IsValid() {
			out[v4] = c.addr
		}
	}
	return out, nil
}

type candidate struct {
	addr  netip.Addr
	order int
}

// candidates are the node's global addresses, best first.
func candidates() ([]candidate, error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	gateways, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	best := map[int]bool{}
	for _, g := range gateways {
		if g.Gw != nil && prefixOf(g.Dst).Bits() <= 0 {
			best[g.LinkIndex] = true
		}
	}
	var out []candidate
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); !ok || a.Scope != unix.RT_SCOPE_UNIVERSE || addr.IsLoopback() {
			continue
		}
		order := a.LinkIndex
		if best[a.LinkIndex] {
			order = -1
		}
		out = append(out, candidate{addr, order})
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Compare(a.order, b.order) })
	return out, nil
}

// Addresses are the node's global addresses, best first: what it tells the cluster about itself.
func Addresses() ([]netip.Addr, error) {
	found, err := candidates()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, c := range found {
		out = append(out, c.addr)
	}
	return out, nil
}

// AttachedNetworks are the networks that the node has an address in.
func AttachedNetworks() (out []netip.Prefix) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p := prefixOf(a.IPNet); a.Scope == unix.RT_SCOPE_UNIVERSE && p.IsValid() && !p.IsSingleIP() {
			out = append(out, p.Masked())
		}
	}
	return out
}

// CleanRoutes removes our routes and the link that they go over.
func CleanRoutes() error {
	if err := newRoutes(nil).remove(nil); err != nil {
		return err
	}
	link, err := netlink.LinkByName(routeLink)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", routeLink, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("delete link %s: %w", routeLink, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if addr.Is4In6() && len(n.Mask) == 4 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits)
}
