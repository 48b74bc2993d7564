package integration

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// TestLaunch has a service run from nothing: instances are started on nodes, reached at the VIP, started anew when they are
// killed, scaled, moved off a node that is drained, and stopped, while connections are opened all the time.
func TestLaunch(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	launchers := w.StartLaunchers()
	w.StartControlCenters(1)
	f := w.Frontend(cluster.TCP, false)
	three := 3
	w.Publish(w.Launched("a", f, func(s *cluster.Service) {
		s.Replicas = &three
		s.Run.Grace = cluster.Duration(20 * time.Second) // connections to the first of those that are drained wait for the last
	}))
	ids := w.AwaitServing("a", 3, 20*time.Second)
	require.Len(t, w.Serving("a"), 3, "one on each node")
	w.AwaitAgents(3)
	w.Eventually(10*time.Second, "rules lead to all", func() bool { return len(w.Flood(w.Client, f, 60).ByID) == 3 })
	w.Only(w.Client, f, ids...)

	// The launcher is killed and started anew: its instance does not notice.
	launchers[0].Kill()
	w.Only(w.Client, f, ids...)
	launchers[0].Start()
	launchers[0].AwaitReady(20 * time.Second)
	w.Only(w.Client, f, ids...)

	weir := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(program, append(args, "--etcd", w.Endpoint())...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	ops, err := w.Store.Operations(t.Context())
	require.NoError(t, err)
	for id, l := range ops.Launched["n1"] {
		require.NoError(t, syscall.Kill(l.PID, syscall.SIGKILL))
		begin := time.Now()
		w.Eventually(3*time.Second+promised, "it is back", func() bool {
			ops, err := w.Store.Operations(t.Context())
			require.NoError(t, err)
			now := ops.Launched["n1"][id]
			return now.Phase == cluster.PhaseReady && now.PID != l.PID
		})
		w.AwaitRoutable(f, 3, promised)
		t.Logf("killed, back in service after %s", time.Since(begin).Round(time.Millisecond))
		w.Eventually(20*time.Second, "it is told", func() bool {
			events := weir("events", "a")
			return strings.Contains(events, "crashed") && strings.Contains(events, "instance "+id+" on node n1: ended by signal: killed; ") &&
				strings.Contains(events, "started again at once; 1 end so far")
		})
	}
	w.AwaitServing("a", 3, 10*time.Second)

	weir("scale", "a", "5")
	ids = w.AwaitServing("a", 5, 20*time.Second)
	w.Eventually(10*time.Second, "rules lead to all", func() bool { return len(w.Flood(w.Client, f, 100).ByID) == 5 })

	// Drained under connections: never fewer than are wanted, and none fails.
	// Live connections, which end by themselves within the grace, do not break.
	var live []*lab.Stream
	for range 12 {
		s, err := lab.StartStream(w.Client.Namespace, lab.StreamOptions{Frontend: Address(f), Interval: 20 * time.Millisecond})
		require.NoError(t, err)
		live = append(live, s)
	}
	weir("node", "drain", "n1")
	failed, fewest := 0, 5
	w.Eventually(60*time.Second, "nothing is left on n1", func() bool {
		failed += w.Flood(w.Client, f, 50).Failed
		serving := w.Serving("a")
		n := 0
		for _, there := range serving {
			n += len(there)
		}
		fewest = min(fewest, n)
		if len(serving["n1"]) == 0 {
			for _, s := range live {
				w.endsWell(s)
			}
			live = nil
		}
		ops, err := w.Store.Operations(t.Context())
		require.NoError(t, err)
		return len(serving["n1"]) == 0 && len(ops.Assigned["n1"]) == 0
	})
	require.Zero(t, failed)
	require.Equal(t, 5, fewest)
	require.Contains(t, weir("events", "a"), "its node is drained")

	require.NotEmpty(t, ids)
	weir("scale", "a", "1", "--force")
	w.Eventually(90*time.Second, "one is left", func() bool {
		failed += w.Flood(w.Client, f, 30).Failed
		ops, err := w.Store.Operations(t.Context())
		require.NoError(t, err)
		return len(ops.Assigned["n2"])+len(ops.Assigned["n3"]) == 1
	})
	require.Zero(t, failed)
	require.True(t, strings.Contains(weir("events", "a"), "drained"))

	w.listScales()
}
