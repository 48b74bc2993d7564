package agent

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteFault is a VIP, or a pool of them, that packets of local clients do not take our route to.
type RouteFault struct {
	Prefix netip.Prefix
	What   string
	Fix    string
}

// maxLookups bounds how many VIPs the kernel is asked the way to.
const maxLookups = 1000

// RouteFaults compares the node's routes with those that it should have, and asks the kernel which way it would take to
// the VIPs: a more specific route, or a rule of policy routing, may win. It changes nothing.
func RouteFaults(want []netip.Prefix, vips []netip.Addr) ([]RouteFault, error) {
	have, err := ours()
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	present := map[netip.Prefix]string{}
	for _, route := range have {
		present[prefixOf(route.Dst)] = names[route.LinkIndex]
	}
	out, sound := judgeRoutes(want, present)
	for _, vip := range vips[:min(len(vips), maxLookups)] {
		if !covered(sound, vip) {
			continue // told already
		}
		over, err := wayTo(vip, names)
		if err != nil {
			return nil, err
		}
		if !right(over, vip.Is4()) {
			out = append(out, RouteFault{netip.PrefixFrom(vip, vip.BitLen()), "another route is preferred: over " + over,
				"ip route get " + vip.String() + " shows it; remove it, or its rule in \"ip rule\""})
		}
	}
	return out, nil
}

// judgeRoutes says what is wrong with our own routes, and which of the wanted are there.
func judgeRoutes(want []netip.Prefix, present map[netip.Prefix]string) (faults []RouteFault, sound []netip.Prefix) {
	const fix = "the agent sets it again when it notices; its log and /debug/problems say why it cannot"
	for _, p := range want {
		switch link, there := present[p]; {
		case !there:
			faults = append(faults, RouteFault{p, "is missing", fix})
		case !right(link, p.Addr().Is4()):
			faults = append(faults, RouteFault{p, "goes over " + link, fix})
		default:
			sound = append(sound, p)
		}
	}
	return faults, sound
}

// right says whether our routes go over a link: lo stands in for the bridge where the kernel has none.
func right(link string, v4 bool) bool { return link == "lo" || v4 && link == routeLink }

func covered(prefixes []netip.Prefix, vip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(vip) {
			return true
		}
	}
	return false
}

// wayTo is the link that the kernel would send over. No way at all is ours for IPv6: a route over lo discards.
func wayTo(vip netip.Addr, links map[int]string) (string, error) {
	routes, err := netlink.RouteGet(vip.AsSlice())
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || err == nil && len(routes) == 0 {
		return "lo", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the way to %s: %w", vip, err)
	}
	return links[routes[0].LinkIndex], nil
}
