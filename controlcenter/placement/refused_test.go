package placement

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestRefusedIsTriedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.refuses["n1"] = "a"
	w.publish("a", 3, nil)
	w.settle(time.Minute, nil)
	require.Equal(t, 3, w.serving("a"))
	for _, a := range w.ops.Assigned["n1"] {
		require.Equal(t, cluster.WantStopped, a.Wanted, "only its word is left there")
	}
	require.Equal(t, 1, w.told("refused"), "and it is not asked again and again")
}

// How long ago a node refused is not asked of its own clock.
func TestRefusedByANodeWhoseClockIsWrong(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{-time.Hour, time.Hour} {
		w := newWorld(t, 1)
		w.refuses["n1"], w.clock = "a", wrong
		w.publish("a", 1, nil)
		w.settle(time.Minute, nil)
		require.Equal(t, 1, w.told("refused"))
		w.now = w.now.Add(refusalRest)
		w.settle(time.Minute, nil)
		require.Equal(t, 2, w.told("refused"))
	}
}

// Where nobody takes it, the word of each node stands for a while, with the reason; another version is asked for at once.
func TestRefusedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.refuses["n1"], w.refuses["n2"] = "a", "a"
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	w.now = w.now.Add(refusalRest / 2)
	w.settle(time.Minute, nil)
	require.Equal(t, 2, w.told("refused"), "each was asked once")
	w.state = State{} // somebody who knows nothing but what is written
	_, actions, problems := w.plan()
	require.Empty(t, actions)
	require.Contains(t, fmt.Sprint(problems), "node n1 refuses it: ")
	require.Contains(t, fmt.Sprint(problems), "not permitted")
	require.Contains(t, fmt.Sprint(problems), "2 of them: it refused the service a short while ago")
	require.Contains(t, fmt.Sprint(problems), "the node is asked again after 5 minutes, or when its launcher was restarted")
	w.now = w.now.Add(refusalRest / 2)
	w.settle(time.Minute, nil)
	require.Equal(t, 4, w.told("refused"), "and asked again when it may have changed its mind")

	clear(w.refuses)
	w.publish("a", 2, func(s *cluster.Service) { s.Run.Command = []string{"/bin/other"} })
	w.settle(time.Minute, nil)
	require.Equal(t, 2, w.serving("a"))
	w.publish("a", -1, nil)
	w.settle(3*time.Minute, nil)
	require.Empty(t, w.ops.Assigned["n1"])
}

// Of many instances that a node refuses for one reason, the reason is told once; events name each.
func TestRefusedIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.refuses["n1"] = "a"
	w.publish("a", 3, nil)
	w.settle(time.Minute, nil)
	require.Equal(t, 3, w.told("refused"))
	require.Regexp(t, `^refused instance a-\S+ on node n1: not permitted$`, w.events[len(w.events)-1])
	var refusals []string
	for _, p := range w.problems {
		if strings.Contains(p.What, "refuses it") {
			refusals = append(refusals, p.What)
		}
	}
	require.Equal(t, []string{"node n1 refuses it: not permitted"}, refusals)
}
