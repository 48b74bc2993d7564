package integration

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// TestGenerations changes the number of instances ten thousand times, as fast as the kernel takes it, while connections
// are opened: a packet may look its frontend up in one generation of the rules and the slot in the next. None may leave
// the node as it came in: a host beyond the node, to which the VIP is routed, counts those that do.
func TestGenerations(t *testing.T) {
	const toggles = 10_000
	w := world(t, Options{Instances: 4, Idle: true})
	node, beyond := w.Nodes[0], w.Instances[3]
	f := w.Frontend(cluster.TCP, false)
	instances := w.ServeAll(3, false)
	require.NoError(t, node.Route(VIPs4, beyond.Addr4))
	w.NFT(beyond, "table ip catch { chain seen { type filter hook prerouting priority 0; ip daddr "+VIPs4.String()+" counter drop; }; }")

	d := w.driver(node)
	want := map[bool]*rules.Ruleset{false: ruleset(Service("a", f, instances[:2]...)), true: ruleset(Service("a", f, instances...))}
	have := install(t, d, want[false])
	var probes []*lab.Probe
	for _, from := range []*lab.Host{node, w.Client} {
		load := Load(f, 0)
		load.Workers = 2
		p, err := lab.StartProbe(from.Namespace, load)
		require.NoError(t, err)
		probes = append(probes, p)
	}
	start := time.Now()
	for i := range toggles {
		plan := rules.Diff(have, want[i%2 == 0])
		require.Equal(t, 1, len(plan.Changes))
		problems, err := rules.Carry(t.Context(), d, have, plan)
		require.NoError(t, err)
		require.Empty(t, problems)
	}
	took := time.Since(start)
	total, retried := 0, 0
	for i, p := range probes {
		r, err := p.Stop()
		require.NoError(t, err)
		for _, latency := range r.Latency {
			if latency > 900*time.Millisecond {
				retried++ // the SYN was dropped between two generations, and its repetition went through
			}
		}
		total += r.Connections
		require.Zero(t, r.Failed, "probe %d: %s", i, r)
		require.Len(t, r.ByID, 3, r.String())
	}
	t.Logf("%d changes in %s, %d connections meanwhile, none failed, %d needed a second SYN", toggles, took.Round(time.Millisecond), total, retried)
	require.Greater(t, total, 1000, "too few connections to see anything")
	require.Zero(t, w.caught(beyond), "packets left the node untranslated")

	// The catch works: without rules the packets do arrive there.
	require.NoError(t, d.Clean(context.Background()))
	load := Load(f, 1)
	load.Timeout = 100 * time.Millisecond
	for _, from := range []*lab.Host{node, w.Client} {
		before := w.caught(beyond)
		r, err := lab.Flood(t.Context(), from.Namespace, load)
		require.NoError(t, err)
		require.Equal(t, 1, r.Failed)
		w.Eventually(promised, "it is caught", func() bool { return w.caught(beyond) > before })
	}
}

// caught is what the counter on the host beyond says.
func (w *World) caught(beyond *lab.Host) (packets int) {
	w.t.Helper()
	text, err := beyond.Output("nft", "-j", "list", "table", "ip", "catch")
	require.NoError(w.t, err)
	var listing struct {
		Nftables []struct {
			Rule *struct {
				Expr []struct{ Counter *struct{ Packets int } }
			}
		}
	}
	require.NoError(w.t, json.Unmarshal(text, &listing))
	found := false
	for _, object := range listing.Nftables {
		if object.Rule == nil {
			continue
		}
		for _, e := range object.Rule.Expr {
			if e.Counter != nil {
				packets, found = packets+e.Counter.Packets, true
			}
		}
	}
	require.True(w.t, found)
	return packets
}
