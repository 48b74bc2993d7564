package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestScale has the number of instances follow the connections that are open, up and down; then the warm pool serve; then a
// node die with all that runs there, whose instances are replaced. How soon is measured by make bench: here the times
// are logged, and bounded generously.
func TestScale(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	launchers := w.StartLaunchers()
	w.StartControlCenters(1)
	f, warm := w.Frontend(cluster.TCP, false), w.Frontend(cluster.TCP, false)
	two := 2
	w.Publish(w.Launched("a", f, func(s *cluster.Service) {
		s.Scale = &cluster.Scale{Min: 2, Max: 12, Window: cluster.Duration(10 * time.Second), Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 10}}}
	}), w.Launched("b", warm, func(s *cluster.Service) { s.Replicas, s.Warm = &two, 2 }))
	w.AwaitRoutable(f, 2, 30*time.Second)
	w.AwaitRoutable(warm, 2, 30*time.Second)

	release := w.Hold(w.Client, f, 60)
	t.Logf("load x 3 by connections: 2 -> 6 routable after %s", w.AwaitRoutable(f, 6, time.Minute).Round(time.Millisecond))
	require.Regexp(t, `connections: \d+ instances come to \d+, the target for each is 10`, w.Weir("events", "a")) // a look may have come before the last of them
	release()
	t.Logf("none: 6 -> 2 after %s with a window of 10 s", w.AwaitRoutable(f, 2, 90*time.Second).Round(time.Millisecond))

	w.Weir("scale", "b", "4")
	t.Logf("from the warm pool: 2 -> 4 routable %s after the command", w.AwaitRoutable(warm, 4, 10*time.Second).Round(time.Millisecond))
	require.Contains(t, w.Weir("events", "b"), "from the warm pool, 4 are wanted")

	before := w.Serving("b")
	require.NotEmpty(t, before["n3"])
	w.cut(w.Nodes[2], true)
	w.Agents[2].Kill()
	launchers[2].Kill()
	launchers[2].Reap()
	died := time.Now()
	w.Eventually(time.Minute, "others are in their place", func() bool {
		now := w.Serving("b")
		return len(now["n3"]) == 0 && len(now["n1"])+len(now["n2"]) == 4
	})
	w.AwaitRoutable(warm, 4, 10*time.Second)
	t.Logf("a node died with %d instances of b: 4 routable elsewhere after %s", len(before["n3"]), time.Since(died).Round(time.Millisecond))
	w.Flood(w.Client, warm, 100)
}
