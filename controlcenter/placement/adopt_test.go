package placement

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestWhatIsAssignedToNobodyIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 3, nil)
	w.publish("b", 1, nil)
	w.settle(time.Minute, nil)
	w.lose()
	w.publish("b", -1, nil)
	placed := w.told("placed")
	w.settle(2*time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 3) })
	require.Equal(t, 3, sum(w.hosts("a")))
	require.Equal(t, 3, w.serving("a"))
	require.Equal(t, placed+4, w.told("placed"), "none is started anew")
	require.Zero(t, sum(w.hosts("b")), "and what nobody wants is stopped")
}

func TestAnUnknownInstanceGoesOnceOthersServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.lose()
	for node := range w.ops.Launched {
		for id, l := range w.ops.Launched[node] { // a launcher that was started anew: it does not know where they are reached
			l.Phase = cluster.PhaseStarting
			w.ops.Launched[node][id] = l
			w.draft.Instance(node, "a", id, nil)
		}
	}
	w.second()
	require.Equal(t, 2, sum(w.hosts("a", cluster.WantServing)), "others are started")
	require.Zero(t, sum(w.hosts("a", cluster.WantStopped)))
	w.settle(time.Minute, nil)
	require.Equal(t, 2, w.serving("a"))
	for _, launched := range w.ops.Launched {
		require.Len(t, launched, 1)
	}
}

// A node that was forgotten comes back empty, under its old name.
func TestAForgottenNodeLeavesNoWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 3, nil)
	w.settle(time.Minute, nil)
	w.fail("n3")
	w.settle(time.Minute, nil)
	require.NotEmpty(t, w.ops.Launched["n3"])
	w.revision++
	w.draft.Node("n3", nil)
	w.settle(time.Minute, nil)
	require.Empty(t, w.ops.Assigned["n3"])
	require.Empty(t, w.ops.Launched["n3"])
}

// TestAWordThatOutlivedItsInstanceFreezesNothing: it is ready, and nobody will ever know where it is reached.
func TestAWordThatOutlivedItsInstanceFreezesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.ops.Launched["n1"]["a-old"] = cluster.Launched{Service: "a", Version: "x", Phase: cluster.PhaseReady, Since: w.now}
	w.want["a"] = 4
	for range 10 {
		w.second()
		require.Equal(t, 2, sum(w.hosts("a")), "a moment, and it may be known")
	}
	w.settle(time.Minute, nil)
	require.Equal(t, 4, w.serving("a"))
	require.NotContains(t, w.ops.Launched["n1"], "a-old")
	require.Empty(t, w.state.unreached)
}

// TestAnAdoptedInstanceKeepsItsClaims where only its assignment was lost.
func TestAnAdoptedInstanceKeepsItsClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.publish("a", 1, nil)
	w.settle(time.Minute, nil)
	id := slices.Collect(maps.Keys(w.ops.Assigned["n1"]))[0]
	claims := maps.Clone(w.ops.Ports["n1"])
	clear(w.ops.Assigned["n1"])
	w.second()
	w.sound()
	require.Contains(t, w.ops.Assigned["n1"], id)
	require.Equal(t, claims, w.ops.Ports["n1"])
	w.settle(time.Minute, func() { require.Equal(t, 1, w.serving("a")) })
	require.Equal(t, map[string]int{"n1": 1}, w.hosts("a"))
}
