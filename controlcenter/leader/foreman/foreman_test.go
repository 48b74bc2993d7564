package foreman_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestInstancesAreLaunchedReplacedAndMoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop, _ := l.lead("cc1")
	three := 3
	l.publish(func(s *cluster.Service) { s.Replicas = &three })
	serving := l.until("three serve", are(3))
	require.Len(t, serving, 2, "on both nodes")

	id := serving["n1"][0]
	l.hosts["n1"].kill(t, id)
	require.Eventually(t, func() bool { // perhaps before anybody saw that it was gone
		launched := l.operations().Launched["n1"][id]
		return launched.Starts == 2 && launched.Phase == cluster.PhaseReady
	}, soon, 10*time.Millisecond, "it is back")
	l.seen(l.commit(cluster.SetConfig{Config: &cluster.Config{}})) // and what nodes were shown before
	l.until("the same one serves", func(m map[string][]string) bool { return total(m) == 3 && slices.Contains(m["n1"], id) })

	require.Eventually(t, func() bool { return len(l.crashed()) == 1 }, soon, 10*time.Millisecond, "it is told")
	require.Contains(t, l.crashed()[0], "instance "+id+" on node n1: ended by signal: killed; started again at once; 1 end so far")

	// Another leader starts none twice, and tells of nothing twice.
	stop()
	stop, report := l.lead("cc2")
	require.Eventually(t, func() bool { s := report().Services; return len(s) == 1 && s[0].Serving == 3 }, soon, 10*time.Millisecond)
	require.Equal(t, 3, total(l.serving()))
	require.Len(t, l.crashed(), 1)
	stop()
	other := l.serving()["n2"][0]
	l.hosts["n2"].kill(t, other) // while nobody leads
	require.Eventually(t, func() bool {
		launched := l.operations().Launched["n2"][other]
		return launched.Starts == 2 && launched.Phase == cluster.PhaseReady
	}, soon, 10*time.Millisecond, "it is back")
	require.Len(t, l.crashed(), 1)
	_, report = l.lead("cc3")
	require.Eventually(t, func() bool { return len(l.crashed()) == 2 }, soon, 10*time.Millisecond, "it is told later")
	require.Contains(t, l.crashed()[1], "instance "+other+" on node n2: ended by signal: killed")
	l.until("all serve", are(3))

	l.commit(cluster.SetNodeAdmin{Node: "n1", Admin: &cluster.NodeAdmin{Drain: true}})
	l.until("all on the other node", func(m map[string][]string) bool {
		require.GreaterOrEqual(t, total(m), 3, "never fewer than are wanted")
		return len(m["n1"]) == 0 && total(m) == 3
	})
	l.seen(l.commit(cluster.SetNodeAdmin{Node: "n1"}))
	l.scale(cluster.Scaled{Replicas: 5, Pinned: true})
	l.until("an operator's word", func(m map[string][]string) bool { return total(m) == 5 && len(m["n1"]) > 0 })
	l.seen(l.commit(cluster.SetConfig{Config: &cluster.Config{Paused: true}}))
	l.looked(report, l.scale(cluster.Scaled{Replicas: 1, Pinned: true}))
	require.True(t, report().Paused)
	require.Equal(t, 5, l.wanted()[cluster.WantServing], "paused")
	third := l.serving()["n2"][0]
	l.hosts["n2"].kill(t, third)
	require.Eventually(t, func() bool { return len(l.crashed()) == 3 }, soon, 10*time.Millisecond, "what happens by itself is told also then")
	require.Eventually(t, func() bool { return l.operations().Launched["n2"][third].Phase == cluster.PhaseReady }, soon, 10*time.Millisecond)
	l.commit(cluster.SetConfig{Config: &cluster.Config{}})
	l.until("resumed", are(1))
	kinds := map[string]bool{}
	require.Eventually(t, func() bool {
		for _, e := range l.events() {
			kinds[e.What] = true
			require.NotEmpty(t, e.Reason)
			require.NotEmpty(t, e.By)
		}
		return kinds[cluster.EventStopped]
	}, soon, 10*time.Millisecond)
	require.Equal(t, map[string]bool{"placed": true, "crashed": true, "drained": true, "stopped": true}, kinds)
	require.Len(t, l.crashed(), 3, "who was told to stop did not crash")
}
