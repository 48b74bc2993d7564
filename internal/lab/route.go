package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// errDefaultRoute: lab members have no use for one, and a test that needs one hides a missing route.
var errDefaultRoute = errors.New("a lab has no default routes")

// Route sends a prefix through a gateway, instead of the one used before.
func (ns *Namespace) Route(prefix netip.Prefix, via netip.Addr) error {
	if prefix.Bits() == 0 {
		return errDefaultRoute
	}
	route := &netlink.Route{Dst: ipNet(prefix.Masked()), Gw: net.IP(via.AsSlice())}
	if err := ns.handle.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s via %s in %s: %w", prefix, via, ns.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: net.IP(p.Addr().AsSlice()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
