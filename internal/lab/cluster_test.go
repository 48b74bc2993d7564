package lab

import (
	"net/netip"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every host serves under its own name, and every host must reach every other by both families and protocols.
func TestEveryHostReachesEveryOther(t *testing.T) {
	c, err := NewCluster(Test(t), 2, 2)
	require.NoError(t, err)
	hosts := c.Hosts()
	require.Len(t, hosts, 5)
	for _, h := range hosts {
		_, err := Serve(h.Namespace, h.Name(), netip.AddrPortFrom(h.Addr4, 80), netip.AddrPortFrom(h.Addr6, 80))
		require.NoError(t, err)
	}
	for _, from := range hosts {
		for _, to := range hosts {
			for _, addr := range []netip.Addr{to.Addr4, to.Addr6} {
				for _, network := range []string{"tcp", "udp"} {
					load := Load{Frontend: netip.AddrPortFrom(addr, 80), Network: network, Connections: 2, Workers: 1}
					r, err := Flood(t.Context(), from.Namespace, load)
					require.NoError(t, err)
					require.Equal(t, map[string]int{to.Name(): 2}, r.ByID, "%s to %s %s: %s", from.Name(), network, addr, r)
				}
			}
		}
	}
}

func TestClusterAddresses(t *testing.T) {
	c, err := NewCluster(Test(t), 2, 2)
	require.NoError(t, err)
	require.Equal(t, "192.168.10.2", c.Nodes[1].Addr4.String())
	require.Equal(t, "fd00:10::2", c.Nodes[1].Addr6.String())
	require.Equal(t, "192.168.10.101", c.Instances[1].Addr4.String())
	require.Equal(t, "fd00:10::101", c.Instances[1].Addr6.String())
	require.Equal(t, "192.168.10.50", c.Client.Addr4.String())

	for _, h := range c.Hosts() {
		for _, family := range []string{"-4", "-6"} {
			out, err := h.Output("ip", family, "route", "show", "default")
			require.NoError(t, err)
			require.Empty(t, string(out), "a default route on %s", h.Name())
		}
	}
	require.ErrorIs(t, c.Client.Route(netip.MustParsePrefix("0.0.0.0/0"), c.Nodes[0].Addr4), errDefaultRoute)
	_, err = NewCluster(nil, 50, 1)
	require.Error(t, err)
	_, err = NewCluster(nil, 1, 152)
	require.Error(t, err)
}

// The VIP is an address on lo of either node, so who answers tells which way the packets went.
func TestRouteVIPs(t *testing.T) {
	c, err := NewCluster(Test(t), 2, 0)
	require.NoError(t, err)
	vips := []netip.Prefix{netip.MustParsePrefix("10.10.1.128/32"), netip.MustParsePrefix("fd00:20::128/128")}
	for _, n := range c.Nodes {
		var frontends []netip.AddrPort
		for _, v := range vips {
			require.NoError(t, n.AddAddress("lo", v))
			frontends = append(frontends, netip.AddrPortFrom(v.Addr(), 80))
		}
		_, err := Serve(n.Namespace, n.Name(), frontends...)
		require.NoError(t, err)
	}
	for _, v := range vips {
		load := Load{Frontend: netip.AddrPortFrom(v.Addr(), 80), Connections: 3}
		r, err := Flood(t.Context(), c.Client.Namespace, load)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"unreachable": 3}, r.Failures, "no route yet")

		for _, via := range []*Host{c.Nodes[0], c.Nodes[1]} {
			require.NoError(t, c.RouteVIPs(c.Client, via, v))
			r, err = Flood(t.Context(), c.Client.Namespace, load)
			require.NoError(t, err)
			require.Equal(t, map[string]int{via.Name(): 3}, r.ByID)
		}
	}
}

// A node forwards for others; that is what makes it a node.
func TestNodesForward(t *testing.T) {
	l := Test(t)
	c, err := NewCluster(l, 1, 0)
	require.NoError(t, err)
	far, err := l.Namespace("far")
	require.NoError(t, err)
	for _, p := range [][3]string{{"10.9.0.1/24", "10.9.0.2/24", "192.168.10.0/24"}, {"fd00:9::1/64", "fd00:9::2/64", "fd00:10::/64"}} {
		near, end := netip.MustParsePrefix(p[0]), netip.MustParsePrefix(p[1])
		ifname := map[bool]string{true: "far4", false: "far6"}[near.Addr().Is4()]
		require.NoError(t, l.Connect(c.Nodes[0].Namespace, far, ifname, ifname, near, end))
		require.NoError(t, far.Route(netip.MustParsePrefix(p[2]), near.Addr()))
		require.NoError(t, c.RouteVIPs(c.Client, c.Nodes[0], near.Masked()))
		frontend := netip.AddrPortFrom(end.Addr(), 80)
		_, err := Serve(far, "far", frontend)
		require.NoError(t, err)
		r, err := Flood(t.Context(), c.Client.Namespace, Load{Frontend: frontend, Connections: 5})
		require.NoError(t, err)
		require.Equal(t, map[string]int{"far": 5}, r.ByID)
	}
}

// Users look inside with iproute2.
func TestNamespacesAreKnownToIP(t *testing.T) {
	c, err := NewCluster(Test(t), 1, 0)
	require.NoError(t, err)
	out, err := exec.Command("ip", "netns", "exec", c.Client.Name(), "ip", "-br", "addr", "show", "eth0").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "192.168.10.50/24")
}
