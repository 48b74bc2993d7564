package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestNodeDownIsReplacedAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 6, nil)
	w.settle(time.Minute, nil)
	launcher := w.ops.Launchers["n2"]
	w.fail("n2")
	w.settle(time.Minute, nil)
	require.Equal(t, 6, w.serving("a"))
	require.Equal(t, 2, w.hosts("a")["n2"], "what is there when it comes back is known")
	w.revive("n2", launcher)
	w.settle(2*time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 6) })
	require.Equal(t, 6, w.serving("a"))
	require.Equal(t, 6, sum(w.hosts("a")), "no duplicates stay")

	w.fail("n3")
	w.settle(time.Minute, nil)
	w.revision++
	w.draft.Node("n3", nil)
	w.settle(time.Minute, nil)
	require.Zero(t, w.hosts("a")["n3"], "a node that was forgotten is not waited for")
	require.Equal(t, 6, w.serving("a"))
}

func TestNodeDrainNeverFallsBelow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 6, func(s *cluster.Service) { s.Warm = 1 })
	w.publish("b", 1, nil)
	w.settle(time.Minute, nil)
	w.revision++
	w.draft.NodeAdmin("n1", &cluster.NodeAdmin{Drain: true})
	w.settle(5*time.Minute, func() {
		require.GreaterOrEqual(t, w.serving("a"), 6)
		require.GreaterOrEqual(t, w.serving("b"), 1)
	})
	require.Zero(t, w.hosts("a")["n1"]+w.hosts("b")["n1"])
	require.Equal(t, 7, sum(w.hosts("a")))
	w.draft.NodeAdmin("n1", nil)
	w.settle(time.Minute, nil)
	require.Zero(t, w.hosts("a")["n1"], "nothing moves back for its own sake")
}

func TestNewVersionReplacesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 8, nil)
	w.settle(time.Minute, nil)
	most := 0
	w.publish("a", 8, func(s *cluster.Service) { s.Run.Command = []string{"/bin/a2"} })
	w.settle(5*time.Minute, func() {
		require.GreaterOrEqual(t, w.serving("a"), 8)
		most = max(most, sum(w.hosts("a", cluster.WantServing)))
	})
	require.LessOrEqual(t, most, 10, "two more at a time")
	require.Equal(t, 8, sum(w.hosts("a")))
	for _, assigned := range w.ops.Assigned {
		for _, a := range assigned {
			require.Equal(t, []string{"/bin/a2"}, a.Run.Command)
		}
	}
	// What may change while an instance runs replaces nothing.
	before := w.told("placed")
	w.publish("a", 8, func(s *cluster.Service) {
		s.Run.Grace, s.Check = cluster.Duration(time.Minute), &cluster.Check{TCP: &cluster.TCPCheck{}}
	})
	w.settle(time.Minute, nil)
	require.Equal(t, before, w.told("placed"))
	for _, assigned := range w.ops.Assigned {
		for _, a := range assigned {
			require.Equal(t, cluster.Duration(time.Minute), a.Run.Grace)
			require.NotNil(t, a.Check)
		}
	}
}

// TestLaunchersKnowWhereTheNumberIsFixed: from the beginning, after the file changed, and of what was adopted.
func TestLaunchersKnowWhereTheNumberIsFixed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, func(s *cluster.Service) { s.Replicas = new(2) })
	w.publish("b", 2, func(s *cluster.Service) { s.Scale = &cluster.Scale{Min: 1, Max: 4} })
	known := func(why string) {
		t.Helper()
		w.settle(time.Minute, nil)
		require.Equal(t, []int{2, 2}, []int{w.serving("a"), w.serving("b")}, why)
		for _, assigned := range w.ops.Assigned {
			for id, a := range assigned {
				require.Equal(t, w.services[a.Service].Scale == nil, a.Fixed, "%s: %s", why, id)
			}
		}
	}
	known("placed")
	placed, actions := w.told("placed"), w.actions
	w.settle(time.Minute, nil)
	require.Equal(t, actions, w.actions, "once")
	w.publish("a", 2, func(s *cluster.Service) { s.Replicas, s.Scale = nil, &cluster.Scale{Min: 1, Max: 4} })
	w.publish("b", 2, func(s *cluster.Service) { s.Scale = nil })
	known("changed")
	require.Equal(t, placed, w.told("placed"), "and none is replaced for it")
	w.lose()
	known("adopted")
}

func TestSickOneIsReplacedOnceItsSubstituteIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.publish("a", 3, func(s *cluster.Service) { s.Check = &cluster.Check{TCP: &cluster.TCPCheck{}} }) // 9 checks of 2 s, of which 3 have passed
	w.settle(time.Minute, nil)
	id := ""
	for one := range w.ops.Assigned["n1"] {
		id = one
	}
	w.sick("n1", "a", id, &cluster.Health{Verdict: cluster.Failing, Reason: "503", Since: w.now})
	for range 11 {
		w.second()
	}
	require.Equal(t, 3, sum(w.hosts("a")), "not yet")
	w.second()
	require.Equal(t, 4, sum(w.hosts("a", cluster.WantServing)), "first the substitute")
	w.settle(2*time.Minute, nil)
	require.NotContains(t, w.ops.Assigned["n1"], id)
	require.Equal(t, 3, w.serving("a"))
	require.Equal(t, 1, w.told("it is not well: 503"))
}

func TestSickOneGoesWhereThereIsNoRoomForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.equip(func(l *cluster.Launcher) { l.Capacity.CPU = 2 }, "n1")
	w.publish("a", 2, func(s *cluster.Service) { s.Run.Resources.CPU, s.Restart = 1, &cluster.Restart{After: 3} })
	w.settle(time.Minute, nil)
	for id := range w.ops.Assigned["n1"] {
		w.sick("n1", "a", id, &cluster.Health{Verdict: cluster.Failing, Since: w.now})
		break
	}
	w.settle(2*time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 1) })
	require.Equal(t, 2, w.serving("a"))
	require.Equal(t, 3, w.told("placed"))
}

// Whoever takes new connections is ready, also one whose check failed once, and one that is used in a panic.
func TestReady(t *testing.T) {
	t.Parallel()
	for status, want := range map[cluster.Status]bool{
		cluster.Serving: true, cluster.IsSuspect: true, cluster.Panic: true, cluster.Standby: true,
		cluster.IsFailing: false, cluster.IsDead: false, cluster.Draining: false,
	} {
		m := &member{launched: &cluster.Launched{Phase: cluster.PhaseReady}, state: &cluster.State{Status: status}}
		require.Equal(t, want, m.ready(), status)
	}
}
