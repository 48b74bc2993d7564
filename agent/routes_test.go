package agent

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/runner"
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

	inside := func(fn func() error) { require.NoError(t, ns.Do(fn)) }
	output := func(command string) string {
		t.Helper()
		text, err := ns.Output("sh", "-c", command)
		require.NoError(t, err)
		return string(text)
	}
	r := newRoutes(nil)
	passes := runner.New(func(context.Context) error {
		return ns.Do(func() error { return r.add([]netip.Prefix{four, six}) })
	}, runner.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var loops errgroup.Group
	loops.Go(func() error { return passes.Run(ctx) })
	var noticed atomic.Bool
	loops.Go(func() error {
		return ns.Do(func() error { return r.watch(ctx, func() { noticed.Store(true); passes.Kick() }) })
	})
	// Nothing tells when the watch has begun: change the addresses until that is noticed.
	extra := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.168.99.1/24"))}
	require.Eventually(t, func() bool {
		return ns.Handle().AddrAdd(link, extra) == nil && ns.Handle().AddrDel(link, extra) == nil && noticed.Load()
	}, 20*time.Second, time.Millisecond, "the watch never hears")

	// What sets the routes aside, or calls for another source, is noticed, and the pass that follows makes it good.
	sound := func(change, v4, v6 string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			routes, err := ns.Output("sh", "-c", "ip route show proto 87; ip -6 route show proto 87")
			require.NoError(c, err)
			require.Contains(c, string(routes), "10.10.0.0/16 dev weir0 scope link src "+v4)
			require.Contains(c, string(routes), "fd10::/64 dev lo"+v6)
		}, 20*time.Second, 5*time.Millisecond, change)
	}
	sound("at first", "192.168.10.1", " src fd00:10::1")
	for _, c := range []struct{ change, v4 string }{
		{"ip link set weir0 down", "192.168.10.1"},
		{"ip link del weir0", "192.168.10.1"},
		{"ip route flush proto 87", "192.168.10.1"},
		{"ip addr add 192.168.10.77/24 dev eth0; ip addr del 192.168.10.1/24 dev eth0; ip addr replace 192.168.10.77/24 dev eth0", "192.168.10.77"},
		{"ip link add eth9 type bridge; ip link set eth9 up; ip addr add 10.9.0.2/24 dev eth9; ip route replace default via 10.9.0.1", "10.9.0.2"},
	} {
		output(c.change)
		sound(c.change, c.v4, "")
	}
	cancel()
	require.NoError(t, loops.Wait(), "nil when cancelled")

	inside(func() error { return r.remove([]netip.Prefix{six}) })
	inside(func() error { return r.add([]netip.Prefix{six}) })
	text := output("ip route show proto 87; ip -6 route show proto 87")
	require.NotContains(t, text, "10.10.0.0/16")
	require.Contains(t, text, "fd10::/64")

	inside(CleanRoutes)
	text = output("ip route show proto 87; ip -6 route show proto 87; ip link show")
	require.NotContains(t, text, "fd10::/64")
	require.NotContains(t, text, "weir0")
}
