package placement

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestBusyPortIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	two := func(s *cluster.Service) {
		s.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "admin", Port: 81, Protocol: cluster.TCP}}
	}
	w.publish("a", 1, two)
	w.settle(time.Minute, nil)
	ports := slices.Sorted(maps.Keys(w.ops.Ports["n1"]))
	require.Len(t, ports, 2)
	w.publish("a", -1, nil)
	w.settle(2*time.Minute, nil)
	require.Empty(t, w.ops.Ports["n1"], "when all nodes have applied it, the ports are free")
	w.busy["n1"] = ports[1]
	w.publish("a", 1, two)
	w.settle(time.Minute, nil)
	require.Equal(t, 1, w.serving("a"))
	require.Equal(t, 1, w.told("refused"))
	require.True(t, w.ops.Ports["n1"][ports[1]].Busy, "it is noted")
	require.NotContains(t, w.ops.Ports["n1"], ports[0], "and the other one may be used")
	require.Len(t, w.ops.Ports["n1"], 3)
}

func TestFreedPortWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.equip(func(l *cluster.Launcher) { l.Ports.To = l.Ports.From }, "n1")
	delete(w.ops.Launchers, "n2")
	w.publish("a", 1, nil)
	w.settle(time.Minute, nil)
	w.ops.Alive["n2"] = false // it may still send connections to the old meaning of the port
	w.publish("a", -1, nil)
	w.publish("b", 1, nil)
	for range 3599 {
		w.second()
	}
	require.Zero(t, w.serving("b"))
	require.Contains(t, w.problems[0].Error(), "its ports are all taken")
	w.ops.Alive["n2"] = true
	w.settle(time.Minute, nil)
	require.Equal(t, 1, w.serving("b"))

	w.ops.Alive["n2"] = false
	w.publish("b", -1, nil)
	w.publish("c", 1, nil)
	for range 3720 {
		w.second()
	}
	require.Equal(t, 1, w.serving("c"), "after an hour nobody is waited for")
}

func TestALeftOverClaimIsFreed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.ops.Ports["n1"][20007] = cluster.PortClaim{Service: "a", ID: "a-1", Since: w.now}
	w.settle(time.Minute, nil)
	require.Empty(t, w.ops.Ports["n1"])
}

// A service that needs more ports than are free takes none from one that needs fewer, and each is told what it lacks.
func TestTooFewPortsForOneService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.equip(func(l *cluster.Launcher) { l.Ports.To = l.Ports.From + 1 }, "n1")
	w.publish("a", 1, func(s *cluster.Service) {
		s.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "admin", Port: 81, Protocol: cluster.TCP}, {Name: "data", Port: 82, Protocol: cluster.TCP}}
	})
	w.publish("b", 1, nil)
	w.publish("c", 1, func(s *cluster.Service) { s.Run.Nodes = map[string]string{"zone": "moon"} })
	w.settle(time.Minute, nil)
	require.Equal(t, 1, w.serving("b"))
	require.Len(t, w.problems, 2)
	require.Contains(t, w.problems[0].Error(), "service a: run: one more instance is wanted, and none of 1 nodes has room; 1 of them: fewer than 3 of its ports are free (20000-20001, its launcher's --ports)")
	require.Contains(t, w.problems[1].Error(), `service c: run: one more instance is wanted, and none of 1 nodes has room; 1 of them: label zone is "east", and "moon" is wanted`)
}
