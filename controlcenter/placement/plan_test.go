package placement

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

func TestWarmPoolServesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.starts = 10 * time.Second
	w.publish("a", 2, func(s *cluster.Service) { s.Warm = 2 })
	w.settle(time.Minute, nil)
	require.Equal(t, 2, w.serving("a"))
	require.Equal(t, 2, sum(w.hosts("a", cluster.WantStandby)))
	w.want["a"] = 4
	w.second()
	require.Equal(t, 4, w.serving("a"), "at once")
	require.Equal(t, 2, w.told("promoted"))
	w.settle(time.Minute, nil)
	require.Equal(t, 2, sum(w.hosts("a", cluster.WantStandby)), "and the pool is filled again")
	w.want["a"] = 0
	w.settle(2*time.Minute, nil)
	require.Zero(t, sum(w.hosts("a")), "for a service that nobody uses none stands by")
}

// TestHistories of any kind end as they should, and nothing that must hold is ever broken.
func TestHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(2, 5).Draw(t, "nodes"))
		names := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "service")
			node := fmt.Sprintf("n%d", rapid.IntRange(1, len(w.ops.Alive)).Draw(t, "node"))
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				w.publish(name, rapid.IntRange(0, 6).Draw(t, "want"), func(s *cluster.Service) { s.Warm = rapid.IntRange(0, 2).Draw(t, "warm") })
			case 2:
				w.publish(name, max(w.want[name], 1), func(s *cluster.Service) {
					s.Run.Command = []string{"/bin/" + rapid.SampledFrom(names).Draw(t, "command")}
				})
			case 3:
				w.draft.NodeAdmin(node, rapid.SampledFrom([]*cluster.NodeAdmin{nil, {Drain: true}, {Cordon: true}}).Draw(t, "admin"))
			case 4:
				if w.services[name] != nil {
					w.publish(name, -1, nil)
				}
			case 5:
				w.starts = time.Duration(rapid.IntRange(0, 5).Draw(t, "starts")) * time.Second
			case 6:
				w.state = State{} // another leader
			}
			for range rapid.IntRange(0, 20).Draw(t, "seconds") {
				w.second()
				w.sound()
			}
		}
		for node := range w.ops.Alive {
			w.draft.NodeAdmin(node, nil)
		}
		w.settle(10*time.Minute, nil)
		for _, name := range names {
			require.Equal(t, w.want[name], w.serving(name), name)
			standby := 0
			if s := w.services[name]; s != nil && w.want[name] > 0 {
				standby = s.Warm
			}
			require.Equal(t, standby, sum(w.hosts(name, cluster.WantStandby)), name)
			require.Equal(t, w.want[name]+standby, sum(w.hosts(name)), name)
		}
		_, again, _ := w.plan()
		require.Empty(t, again)
	})
}
