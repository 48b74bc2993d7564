package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestWhatIsHeldBackStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.draft.Service("a", nil)
	w.draft.Held(&cluster.Held{Reason: "a list lacks much"})
	for range 120 {
		w.second()
	}
	require.Equal(t, 2, sum(w.hosts("a", cluster.WantServing)))
	require.Len(t, w.problems, 1)
	require.Contains(t, w.problems[0].Error(), "nothing is placed, moved or stopped")
	w.draft.Held(nil)
	w.draft.Ready(false)
	for range 120 {
		w.second()
	}
	require.Equal(t, 2, sum(w.hosts("a", cluster.WantServing)), "and an empty store says nothing")
	w.draft.Ready(true)
	w.publish("a", -1, nil)
	w.settle(2*time.Minute, nil)
	require.Zero(t, sum(w.hosts("a")))
}

func TestWhatNobodyWithdrewRunsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 3, nil)
	w.publish("b", 2, nil)
	w.settle(time.Minute, nil)
	events := len(w.events)
	for _, name := range []string{"a", "b"} { // by hand, or as nobody can read them
		w.draft.Service(name, nil)
		delete(w.want, name)
	}
	w.revision++
	w.settle(10*time.Minute, nil)
	require.Equal(t, 5, sum(w.hosts("a"))+sum(w.hosts("b")))
	require.Len(t, w.events, events)
	require.Len(t, w.problems, 2)
	require.Contains(t, w.problems[0].Error(), "service a: it is not published, or cannot be read, and nobody withdrew it: 3 of its instances run on")
	require.Contains(t, w.problems[0].Error(), "weir controlcenter withdraw a")

	// The store was wiped on top of that, and only one of them is published again: the launchers' word is left.
	w.lose()
	b := w.services["b"]
	delete(w.services, "b")
	w.publish("b", 2, func(s *cluster.Service) { *s = *b })
	w.settle(10*time.Minute, func() { require.GreaterOrEqual(t, w.serving("b"), 2) })
	require.Equal(t, 2, sum(w.hosts("b")))
	require.Len(t, w.problems, 1)
	require.Contains(t, w.problems[0].Error(), "3 of its instances run on")
	running := 0
	for _, launched := range w.ops.Launched {
		for _, l := range launched {
			if l.Service == "a" && l.Phase == cluster.PhaseReady {
				running++
			}
		}
	}
	require.Equal(t, 3, running)

	w.publish("a", -1, nil) // somebody withdraws it after all
	w.settle(10*time.Minute, nil)
	require.Zero(t, sum(w.hosts("a")))
	require.Empty(t, w.problems)
	require.Empty(t, w.ops.Scaled, "the withdrawal is forgotten once nothing is left")
	require.Equal(t, 2, w.serving("b"))
}
