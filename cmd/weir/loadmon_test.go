package main

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/sample"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// A real node: rules that count, tracked connections, a process that listens.
func TestMeasure(t *testing.T) {
	c, err := lab.NewCluster(lab.Test(t), 1, 0)
	require.NoError(t, err)
	here := c.Nodes[0]
	address := netip.AddrPortFrom(here.Addr4, 8080)
	instance, err := lab.Serve(here.Namespace, "x", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = instance.Close() })

	d := cluster.NewDraft()
	d.Service("a", &cluster.Service{
		Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, CreateRevision: 1, ModRevision: 1,
		Instances: []cluster.Instance{{ID: "x", Addr: address.Addr(), Port: 8080, Weight: 1}, {ID: "y", Addr: address.Addr(), Port: 8081, Weight: 0}},
	})
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{here.Addr4}})
	snapshot := d.Snapshot(1)
	driver, err := nft.New(nft.Options{Ownership: nft.OwnAuto, NetNS: int(here.Netns())})
	require.NoError(t, err)
	t.Cleanup(func() { _ = driver.Close() })
	have, err := driver.Read(t.Context())
	require.NoError(t, err)
	require.NoError(t, driver.Apply(t.Context(), rules.Diff(have, rules.Build(nil, snapshot, rules.Options{Node: "n1"}))))
	require.NoError(t, c.RouteVIPs(c.Client, here, netip.MustParsePrefix("10.10.1.0/24")))

	host, err := sample.NewKernel(driver.LocalCounts)
	require.NoError(t, err)
	sampler, locals := sample.NewSampler("n1", host, 1), loadmon.Locals(snapshot, "n1")
	require.Len(t, locals, 2)
	measured := func() (r loadmon.Report) {
		require.NoError(t, here.Do(func() (err error) {
			r, err = sampler.Sample(t.Context(), locals, time.Now())
			return err
		}))
		return r
	}
	require.Empty(t, measured().Loads)
	result, err := lab.Flood(t.Context(), c.Client.Namespace, lab.Load{Frontend: netip.MustParseAddrPort("10.10.1.1:80"), Connections: 50})
	require.NoError(t, err)
	require.Equal(t, 50, result.Good(), result.Failures)
	for range 3 {
		conn, err := c.Client.Dial(t.Context(), "tcp", "10.10.1.1:80")
		require.NoError(t, err)
		defer conn.Close()
	}
	var x loadmon.Load
	require.Eventually(t, func() bool { // what ends the others may still be under way
		loads := measured().Loads
		require.Len(t, loads, 1, "nobody listens for y")
		x = loads[0]
		return x.Active == 3
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, []any{"a", "x", uint64(53)}, []any{x.Service, x.Instance, x.Connections})
	require.Positive(t, x.Busy)
	require.Positive(t, x.CPUSeconds)
	require.Positive(t, x.MemoryBytes)
	require.Positive(t, x.OpenFiles)
	pids, err := host.Processes(nil)
	require.NoError(t, err)
	require.Empty(t, pids)
	used, err := host.Usage(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, used.CPU)
}

func TestLoadmonOfANodeWithoutProcesses(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: rules and tracked connections cannot be read")
	}
	r := weir(t, cast(t), "loadmon", "--once", "--node", "n1", "--interval", "10ms")
	require.Equal(t, 0, r.code, r.err)
	require.Equal(t, "SERVICE  INSTANCE  NEW/S  ACTIVE  BUSY\n", r.out)
	require.Contains(t, r.err, "1 of 1 instances of node n1 have no process here that could be measured")
	require.Contains(t, weir(t, cast(t), "loadmon", "--once", "--node", "n1", "--interval", "10ms", "-o", "json").out, `"node": "n1"`)
}

func TestLoadmonRefuses(t *testing.T) {
	t.Parallel()
	r := weir(t, newFake(), "loadmon", "--once", "--node", "nowhere")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `there is no node "nowhere"`)
	require.Equal(t, 2, weir(t, newFake(), "loadmon", "--once", "--interval", "0s").code)
}

func TestLoadsTable(t *testing.T) {
	t.Parallel()
	l := loads(loadmon.Report{UptimeS: 5, Loads: []loadmon.Load{{Service: "a", Instance: "x", Connections: 53, Active: 3, Busy: 0.416}}})
	require.Equal(t, [][]string{{"a", "x", "10.6", "3", "42%"}}, l.rows)
}
