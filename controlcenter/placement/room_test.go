package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestSpreadsOverNodesAndZones(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.publish("a", 6, nil)
	w.settle(time.Minute, nil)
	require.Equal(t, 6, w.serving("a"))
	for node, n := range w.hosts("a") {
		require.True(t, n == 1 || n == 2, "%s has %d", node, n)
	}
	w.publish("b", 2, func(s *cluster.Service) { s.Run.Nodes = map[string]string{"zone": "east"} })
	w.settle(time.Minute, nil)
	require.Equal(t, map[string]int{"n1": 1, "n3": 1}, w.hosts("b"), "only nodes in the east")
	require.Equal(t, 8, w.told("placed"))
	_, actions, _ := w.plan()
	require.Empty(t, actions, "when all is as it is wanted nothing is done")
}

func TestWithoutRoomSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.equip(func(l *cluster.Launcher) { l.Capacity = cluster.Resources{CPU: 2, Memory: 1 << 30} }, "n1", "n2")
	w.publish("a", 5, func(s *cluster.Service) { s.Run.Resources = cluster.Resources{CPU: 1, Memory: 256 << 20} })
	w.settle(time.Minute, nil)
	require.Equal(t, 4, w.serving("a"))
	require.Len(t, w.problems, 1)
	require.Contains(t, w.problems[0].Error(), "none of 2 nodes has room; 2 of them: 1 processors are wanted, and 2 of 2 are taken")
	w.join("n3", "east")
	w.settle(time.Minute, nil)
	require.Equal(t, 5, w.serving("a"))
	require.Empty(t, w.problems)
	w.equip(func(l *cluster.Launcher) { l.Capacity.Memory = 1 << 40 }, "n3")
	w.publish("b", 1, func(s *cluster.Service) { s.Run.Resources = cluster.Resources{Memory: 4 << 40} })
	w.settle(time.Minute, nil)
	require.Zero(t, w.serving("b"))
	w.publish("c", 1, func(s *cluster.Service) { s.Run.Driver = cluster.DriverHook })
	w.settle(time.Minute, nil)
	require.Contains(t, w.problems[len(w.problems)-1].Error(), "no driver hook")
	require.Equal(t, 5, w.serving("a"), "the others are unaffected")
}

func TestCordonPlacesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.draft.NodeAdmin("n1", &cluster.NodeAdmin{Cordon: true})
	w.want["a"] = 5
	w.settle(time.Minute, nil)
	require.Equal(t, map[string]int{"n1": 1, "n2": 4}, w.hosts("a"))
}
