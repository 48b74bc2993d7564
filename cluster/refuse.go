package cluster

import (
	"fmt"
	"net/netip"
)

var (
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	zeroNet   = netip.MustParsePrefix("0.0.0.0/8")
	classE    = netip.MustParsePrefix("240.0.0.0/4")
)

// unroutable says why an address can be neither VIP nor instance, or "". An IPv4-mapped address is refused as written:
// after Unmap it would pass as another address than the one that was read.
func unroutable(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "no address is given"
	case addr.Is4In6():
		return fmt.Sprintf("%s is an IPv4-mapped IPv6 address", addr)
	case addr.Zone() != "":
		return fmt.Sprintf("%s has a zone, which means nothing on another node", addr)
	case addr.IsUnspecified() || zeroNet.Contains(addr):
		return fmt.Sprintf("%s is not the address of any host", addr)
	case addr.IsLoopback():
		return fmt.Sprintf("%s is a loopback address: it would be another host on every node", addr)
	case addr.IsLinkLocalUnicast():
		return fmt.Sprintf("%s is link-local (the range of cloud metadata services)", addr)
	case addr.IsMulticast():
		return fmt.Sprintf("%s is a multicast address", addr)
	case addr == broadcast || classE.Contains(addr):
		return fmt.Sprintf("%s is a broadcast or reserved address", addr)
	}
	return ""
}

// RefuseVIP says why an address cannot be a VIP under this configuration, or "".
func (c *Config) RefuseVIP(addr netip.Addr) string {
	if why := unroutable(addr); why != "" {
		return why
	}
	if c != nil && len(c.VIPPools) > 0 && !within(c.VIPPools, addr) {
		return fmt.Sprintf("%s is outside the VIP pools %v", addr, c.VIPPools)
	}
	return ""
}

// vipFix says what to do about a VIP that is refused.
func (c *Config) vipFix(addr netip.Addr) string {
	if unroutable(addr) == "" && c != nil && len(c.VIPPools) > 0 && !within(c.VIPPools, addr) {
		return "choose one in the pools"
	}
	return "choose a free address that routes to no host"
}

// RefuseInstance says why an address cannot be an instance under this configuration, or "". The node is the one that
// registered the instance; "" when it was published by hand.
func (c *Config) RefuseInstance(addr netip.Addr, node string) string {
	if why := unroutable(addr); why != "" {
		return why
	}
	if c == nil {
		return ""
	}
	if within(c.VIPPools, addr) {
		return fmt.Sprintf("%s lies in a VIP pool: an instance must be a real host, or traffic would circle", addr)
	}
	if len(c.InstanceNetworks) > 0 && !within(c.InstanceNetworks, addr) {
		return fmt.Sprintf("%s is outside the instance networks %v", addr, c.InstanceNetworks)
	}
	if node != "" && c.NodeAddresses != nil && !within(c.NodeAddresses[node], addr) {
		return fmt.Sprintf("%s is not among the addresses that the configuration gives to node %s", addr, node)
	}
	return ""
}

// instanceFix says what to do about an instance's address that is refused.
func (c *Config) instanceFix(addr netip.Addr) string {
	if unroutable(addr) == "" && c != nil && len(c.InstanceNetworks) > 0 && !within(c.VIPPools, addr) && !within(c.InstanceNetworks, addr) {
		return "use an address within them, or add its network to instance_networks (weir controlcenter config)"
	}
	return "use the address of a host that all nodes can reach"
}

func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
