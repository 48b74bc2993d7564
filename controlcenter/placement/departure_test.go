package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestShrinksAfterDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 6, nil)
	w.settle(time.Minute, nil)
	w.publish("a", 2, nil)
	w.second()
	require.Equal(t, 4, sum(w.hosts("a", cluster.WantDrained)))
	require.Zero(t, w.told("stopped"), "first they are drained")
	w.settle(time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 2) })
	require.Equal(t, 2, sum(w.hosts("a")))
	require.Equal(t, 2, w.serving("a"))
	require.Equal(t, 4, w.told("it has no connections left"))

	w.deaf = true
	w.publish("a", 1, func(s *cluster.Service) { s.Run.Drain = cluster.Duration(20 * time.Second) })
	for range 15 {
		w.second()
	}
	require.Equal(t, 1, sum(w.hosts("a", cluster.WantDrained)), "it still has connections")
	w.settle(time.Minute, nil)
	require.Equal(t, 1, w.told("its connections had 20s"))
	require.Equal(t, 1, sum(w.hosts("a")))
}

func TestACutOffNodeIsWaitedForBeforeTheStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.ops.Alive["n3"] = false
	w.publish("a", 1, nil)
	for range 38 {
		w.second()
	}
	require.Equal(t, 1, sum(w.hosts("a", cluster.WantDrained)), "its kernel may go on sending")
	w.settle(time.Minute, nil)
	require.Equal(t, 1, sum(w.hosts("a")))
}
