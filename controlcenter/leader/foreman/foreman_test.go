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

	// Another leader starts none twice.
	stop()
	_, report := l.lead("cc2")
	require.Eventually(t, func() bool { s := report().Services; return len(s) == 1 && s[0].Serving == 3 }, soon, 10*time.Millisecond)
	require.Equal(t, 3, total(l.serving()))

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
	require.Equal(t, map[string]bool{"placed": true, "drained": true, "stopped": true}, kinds)
}
