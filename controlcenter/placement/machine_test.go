package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// rent is a launcher's hook: machines join after a while, and are gone when they are released.
func (w *world) rent(node, id string, a cluster.Assignment, l cluster.Launched) cluster.Launched {
	next := cluster.Launched{Kind: a.Kind, For: a.For, Version: a.Version, Since: w.now}
	switch _, joined := w.ops.Launchers[id]; {
	case a.Wanted == cluster.WantStopped && l.Phase != cluster.PhaseStopped:
		next.Phase = cluster.PhaseStopped
		w.ops.Alive[id] = false
		delete(w.ops.Launchers, id)
		return next
	case a.Wanted == cluster.WantStopped:
	case l.Phase == "" && w.refuses[node] == "nodes":
		next.Phase, next.Problem = cluster.PhaseRefused, &cluster.Problem{What: "quota exceeded"}
		return next
	case l.Phase == "":
		next.Phase = cluster.PhaseReady
		return next
	case !joined && l.Phase == cluster.PhaseReady && w.boots > 0 && w.now.Sub(l.Since) >= w.boots:
		w.joins(id, true)
		w.refuses[id] = w.lacking
	}
	return l
}

// joins has a machine join whose agent is in touch, or not yet.
func (w *world) joins(name string, inTouch bool) {
	w.revision++
	w.join(name, "west")
	w.equip(func(l *cluster.Launcher) { l.Capacity = w.boot }, name)
	w.ops.Alive[name] = inTouch
}

// cloud is a world of one node of two processors whose hook can acquire machines like it.
func cloud(t require.TestingT, most int) *world {
	w := newWorld(t, 1)
	w.boots, w.boot = 30*time.Second, cluster.Resources{CPU: 2}
	w.offer(&cluster.NodeOffer{Most: most, Capacity: w.boot, Labels: map[string]string{"zone": "west"}, Idle: cluster.Duration(15 * time.Minute)})
	return w
}

func (w *world) offer(o *cluster.NodeOffer) {
	w.equip(func(l *cluster.Launcher) {
		l.Drivers, l.Capacity, l.Nodes = []string{"hook", "process"}, cluster.Resources{CPU: 2}, o
	}, "n1")
}

// machinesOf are the machines that are assigned, by what is wanted of them.
func (w *world) machinesOf(wanted cluster.Wanted) (names []string) {
	for id, a := range w.ops.Assigned["n1"] {
		if a.Kind == cluster.KindNode && a.Wanted == wanted {
			names = append(names, id)
		}
	}
	return names
}

func (w *world) seconds(n int) {
	for range n {
		w.second()
	}
}

func ofOneCPU(s *cluster.Service) { s.Run.Resources.CPU = 1 }

func TestMachinesComeAndGo(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.publish("a", 5, ofOneCPU)
	w.seconds(1)
	require.Len(t, w.machinesOf(cluster.WantServing), 2, "three have no room, and two fit on each")
	require.Equal(t, 2, w.told("from the hook of node n1: none of 1 nodes has room"))
	w.seconds(60)
	require.Equal(t, 5, w.serving("a"))
	require.Len(t, w.machinesOf(cluster.WantServing), 2, "none more while they came")
	require.Equal(t, 2, w.told("on node n1, which has room: 5 are wanted"))
	require.Equal(t, 3, w.told(", from the hook of node n1: 5 are wanted"))

	w.publish("a", 0, nil)
	w.settle(2*time.Minute, nil)
	w.seconds(13 * 60)
	require.Len(t, w.machinesOf(cluster.WantServing), 2)
	w.state = State{} // another leader begins anew
	w.seconds(14 * 60)
	require.Zero(t, w.told("goes back"))
	w.seconds(2 * 60)
	require.Equal(t, 2, w.told("goes back to the hook of node n1: nothing has run on it for 15m0s"))
	require.Empty(t, w.machinesOf(cluster.WantServing))
	require.Empty(t, w.machinesOf(cluster.WantStopped))
	require.Equal(t, 1, w.snapshot().Nodes.Len(), "and nobody waits for them")
}

func TestAMachineStaysWhileAnythingRunsThere(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.publish("a", 3, ofOneCPU)
	w.seconds(60)
	name := w.machinesOf(cluster.WantServing)[0]
	w.seconds(20 * 60)
	require.Zero(t, w.told("goes back"), "one instance")
	w.publish("a", 0, nil)
	node, _ := w.snapshot().Nodes.Get(name)
	w.publish("b", 1, func(s *cluster.Service) {
		s.Run, s.Instances = nil, []cluster.Instance{{ID: "x", Addr: node.Addresses[0], Port: 80, Weight: 1}}
	})
	w.seconds(20 * 60)
	require.Zero(t, w.told("goes back"), "one that somebody else runs")
	w.publish("b", -1, nil)
	w.seconds(14 * 60)
	require.Zero(t, w.told("goes back"))
	w.publish("a", 4, nil) // what would be given back in a minute is used
	w.settle(time.Minute, nil)
	require.Equal(t, 4, w.serving("a"))
	require.Len(t, w.machinesOf(cluster.WantServing), 1)
	require.Equal(t, 1, w.told("acquired"))
}

func TestNoMachineIsAcquired(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(w *world)
		want   int // machines
	}{
		"that would be too small": {func(w *world) { w.publish("a", 1, func(s *cluster.Service) { s.Run.Resources.CPU = 3 }) }, 0},
		"of other labels": {func(w *world) {
			w.publish("a", 3, func(s *cluster.Service) { s.Run.Nodes = map[string]string{"zone": "north"} })
		}, 0},
		"beyond the most":                {func(w *world) { w.publish("a", 20, ofOneCPU) }, 3},
		"by a node that is not in touch": {func(w *world) { w.ops.Alive["n1"] = false; w.publish("a", 3, ofOneCPU) }, 0},
		"for a service that is not its own": {func(w *world) {
			w.equip(func(l *cluster.Launcher) { l.Services = []string{"b"} }, "n1")
			w.publish("a", 3, ofOneCPU)
		}, 0},
		"for the pool":                          {func(w *world) { w.publish("a", 2, func(s *cluster.Service) { ofOneCPU(s); s.Warm = 2 }) }, 0},
		"where none is offered":                 {func(w *world) { w.offer(nil); w.publish("a", 3, ofOneCPU) }, 0},
		"after one that was less than promised": {func(w *world) { w.boot.CPU = 0.5; w.publish("a", 3, ofOneCPU) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := cloud(t, 3)
			test.change(w)
			w.seconds(120)
			require.Len(t, w.machinesOf(cluster.WantServing), test.want)
			if name != "for the pool" {
				require.NotEmpty(t, w.problems)
			}
		})
	}
}

func TestARefusedMachineIsNotAskedForAgainAtOnce(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.refuses["n1"] = "nodes"
	w.publish("a", 3, ofOneCPU)
	w.seconds(200)
	require.Equal(t, 1, w.told("quota exceeded"))
	require.Empty(t, w.machinesOf(cluster.WantServing))
	delete(w.refuses, "n1")
	w.seconds(5 * 60)
	require.Equal(t, 3, w.serving("a"))
}

// A machine on which the program is missing gets no company, and goes back when it has been of no use for long.
func TestAMachineThatCannotRunItIsGivenBack(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.publish("a", 2, ofOneCPU)
	w.seconds(60)
	require.Equal(t, 2, w.serving("a"))
	w.lacking = "b"
	w.publish("b", 1, ofOneCPU)
	w.seconds(10 * 60)
	require.Len(t, w.machinesOf(cluster.WantServing), 1)
	require.Equal(t, 1, w.told("refused"))
	w.seconds(8 * 60)
	require.Equal(t, 1, w.told("goes back"))
}

func TestAMachineThatDoesNotJoinIsGivenBack(t *testing.T) {
	t.Parallel()
	w := cloud(t, 1)
	w.boots = 0
	w.publish("a", 3, ofOneCPU)
	w.seconds(9 * 60)
	require.Len(t, w.problems, 1, "no room")
	w.seconds(2 * 60)
	require.Len(t, w.problems, 2)
	require.Contains(t, w.problems[1].Error(), "no launcher of that name has come")
	require.Zero(t, w.told("goes back"))
	w.seconds(20 * 60)
	require.Equal(t, 1, w.told("it has not joined for 30m0s"))
}

// TestAnAgentThatLivesOnKeepsItsNode although the hook says that the machine is gone.
func TestAnAgentThatLivesOnKeepsItsNode(t *testing.T) {
	t.Parallel()
	w := cloud(t, 1)
	w.publish("a", 3, ofOneCPU)
	w.seconds(60)
	name := w.machinesOf(cluster.WantServing)[0]
	launcher := w.ops.Launchers[name]
	w.publish("a", 0, nil)
	for range 17 * 60 {
		w.second()
		w.ops.Alive[name], w.ops.Launchers[name] = true, launcher
	}
	require.Equal(t, []string{name}, w.machinesOf(cluster.WantStopped))
	require.Contains(t, w.problems[len(w.problems)-1].Error(), "says that its machine is gone, and its agent is in touch")
	w.publish("a", 3, nil)
	w.ops.Alive[name], w.ops.Launchers[name] = true, launcher
	w.second()
	require.Zero(t, w.hosts("a")[name], "nothing is placed on it")
	w.ops.Alive[name] = false
	w.second()
	require.Empty(t, w.machinesOf(cluster.WantStopped))
}

func TestMachinesThatNobodyAssignedStay(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.publish("a", 3, ofOneCPU)
	w.seconds(60)
	w.lose()
	w.settle(2*time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 3) })
	require.Len(t, w.machinesOf(cluster.WantServing), 1)
	require.Equal(t, 1, w.told("was assigned to nobody and stays"))
	w.seconds(20 * 60)
	require.Equal(t, 3, w.serving("a"))
}

// TestMachineHistories of any kind: never more machines than are offered, none is given back that is used, and in the end all
// that fits runs, on no more machines than that needs and were used.
func TestMachineHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 3).Draw(t, "most")
		w := cloud(t, most)
		w.offer(&cluster.NodeOffer{Most: most, Capacity: w.boot, Idle: cluster.Duration(time.Minute)})
		given := map[string]bool{}
		step := func() {
			w.second()
			w.sound()
			require.LessOrEqual(t, len(w.machinesOf(cluster.WantServing))+len(w.machinesOf(cluster.WantStopped)), most)
			for _, name := range w.machinesOf(cluster.WantStopped) {
				require.True(t, given[name] || len(w.ops.Assigned[name]) == 0, "%s is used", name)
				given[name] = true
				require.Empty(t, w.ops.Assigned[name], "nothing is placed on one that goes")
			}
		}
		want := map[string]int{}
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service")
			want[name] = rapid.IntRange(0, 6).Draw(t, "want")
			w.publish(name, want[name], ofOneCPU)
			w.boots = time.Duration(rapid.IntRange(1, 20).Draw(t, "boots")) * time.Second
			if rapid.Bool().Draw(t, "another leader") {
				w.state = State{}
			}
			for range rapid.SampledFrom([]int{1, 20, 120}).Draw(t, "seconds") {
				step()
			}
		}
		for range 45 {
			step()
		}
		require.Equal(t, min(sum(want), 2+2*most), w.serving("a")+w.serving("b"))
	})
}
