package agent

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/internal/lab"
)

func TestRoutesOfKernel(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	four, six := netip.MustParsePrefix("10.10.0.0/16"), netip.MustParsePrefix("fd10::/64")
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}
	require.NoError(t, ns.Handle().LinkAdd(link))
	require.NoError(t, ns.Handle().LinkSetUp(link))
	require.NoError(t, ns.AddAddress("eth0", netip.MustParsePrefix("192.168.10.1/24")))
	require.NoError(t, ns.AddAddress("eth0", netip.MustParsePrefix("fd00:10::1/64")))

	kicked := make(chan struct{}, 1)
	kick := func() {
		select {
		case kicked <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := newRoutes(nil)
	inside := func(fn func() error) { require.NoError(t, ns.Do(fn)) }
	go func() { ended <- ns.Do(func() error { return r.watch(ctx, kick) }) }()
	// Nothing tells when the watch has begun: change the addresses until one change is noticed.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	noticed := func(change func()) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
			require.True(t, time.Now().Before(deadline), "never noticed")
			select {
			case <-kicked:
				return
			default:
				change()
			}
		}
	}
	extra := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.168.99.1/24"))}
	noticed(func() {
		require.NoError(t, ns.Handle().AddrAdd(link, extra))
		require.NoError(t, ns.Handle().AddrDel(link, extra))
	})

	inside(func() error { return r.add([]netip.Prefix{four, six}) })
	text, err := ns.Output("sh", "-c", "ip route show proto 87; ip -6 route show proto 87")
	require.NoError(t, err)
	require.Contains(t, string(text), "10.10.0.0/16 dev weir0 scope link src 192.168.10.1")
	require.Contains(t, string(text), "fd10::/64 dev lo src fd00:10::1")

	// What sets the routes aside, or calls for another source, is noticed; what the next pass then does makes it good.
	again := func(change, v4 string) {
		t.Helper()
		select {
		case <-kicked: // of what we did ourselves
		default:
		}
		noticed(func() {
			_, err := ns.Output("sh", "-c", change)
			require.NoError(t, err)
		})
		inside(func() error { return r.add([]netip.Prefix{four, six}) })
		text, err := ns.Output("sh", "-c", "ip route show proto 87; ip -6 route show proto 87")
		require.NoError(t, err)
		require.Contains(t, string(text), "10.10.0.0/16 dev weir0 scope link src "+v4, change)
		require.Contains(t, string(text), "fd10::/64 dev lo", change)
	}
	again("ip link set weir0 down", "192.168.10.1")
	again("ip link del weir0 2>/dev/null || true", "192.168.10.1")
	again("ip route flush proto 87", "192.168.10.1")
	again("ip addr replace 192.168.10.77/24 dev eth0; ip addr del 192.168.10.1/24 dev eth0 2>/dev/null; ip addr replace 192.168.10.77/24 dev eth0", "192.168.10.77")
	again("ip link add eth9 type bridge 2>/dev/null; ip link set eth9 up; ip addr replace 10.9.0.2/24 dev eth9; ip route replace default via 10.9.0.1", "10.9.0.2")

	inside(func() error { return r.remove([]netip.Prefix{six}) })
	inside(func() error { return r.add([]netip.Prefix{six}) })
	text, err = ns.Output("sh", "-c", "ip route show proto 87; ip -6 route show proto 87")
	require.NoError(t, err)
	require.NotContains(t, string(text), "10.10.0.0/16")
	require.Contains(t, string(text), "fd10::/64")

	inside(CleanRoutes)
	text, err = ns.Output("sh", "-c", "ip route show proto 87; ip -6 route show proto 87; ip link show")
	require.NoError(t, err)
	require.NotContains(t, string(text), "fd10::/64")
	require.NotContains(t, string(text), "weir0")
	cancel()
	require.NoError(t, <-ended, "nil when cancelled")
}
