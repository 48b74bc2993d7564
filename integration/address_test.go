package integration

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestNodeChangesItsAddress gives a node another address, takes its link down and up, and the link of the VIP routes too.
// Local and routed clients are served again, from the new address, without a restart of anything.
func TestNodeChangesItsAddress(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	node, a, f := w.Nodes[0], w.Agents[0], w.Frontend(cluster.TCP, false)
	instances := w.ServeAll(3, false)
	w.Publish(Service("a", f, instances...))
	w.Only(node, f, instances...)
	run := func(script string) {
		t.Helper()
		out, err := node.Output("sh", "-ec", script)
		require.NoError(t, err, "%s", out)
	}
	from := func(source netip.Addr) {
		t.Helper()
		took := w.Eventually(5*time.Second, "local clients use "+source.String(), func() bool {
			out, _ := node.Output("ip", "route", "get", f.VIP.String()) // fails while there is no route at all
			return strings.Contains(string(out), "dev weir0 src "+source.String()+" ")
		})
		w.Only(node, f, instances...)
		t.Logf("routes lead from %s after %s", source, took.Round(time.Millisecond))
	}
	from(node.Addr4)
	other := netip.MustParseAddr("192.168.10.7")
	run("ip addr add " + other.String() + "/24 dev eth0; ip addr del " + node.Addr4.String() + "/24 dev eth0; ip addr show dev eth0 | grep -q " + other.String() +
		" || ip addr add " + other.String() + "/24 dev eth0") // the kernel takes a secondary address with its primary
	from(other)
	seen, err := w.Instances[0].Output("ip", "-4", "neighbour", "show", other.String())
	require.NoError(t, err)
	require.Contains(t, string(seen), other.String(), "the instance has talked to the new address")

	run("ip addr add " + node.Addr4.String() + "/24 dev eth0; ip addr del " + other.String() + "/24 dev eth0; ip addr show dev eth0 | grep -q " + node.Addr4.String() +
		" || ip addr add " + node.Addr4.String() + "/24 dev eth0")
	from(node.Addr4)
	run("ip link set eth0 down; ip link set eth0 up")
	from(node.Addr4)
	run("ip link set weir0 down")
	from(node.Addr4)
	run("ip link del weir0")
	from(node.Addr4)
	w.Only(w.Client, f, instances...)
	a.AwaitReady(5 * time.Second)
	require.Equal(t, 1, strings.Count(a.Log(), "msg=starting"))
}
