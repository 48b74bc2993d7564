package placement

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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
	for node, l := range w.ops.Launchers {
		l.Capacity = cluster.Resources{CPU: 2, Memory: 1 << 30}
		w.ops.Launchers[node] = l
	}
	w.publish("a", 5, func(s *cluster.Service) { s.Run.Resources = cluster.Resources{CPU: 1, Memory: 256 << 20} })
	w.settle(time.Minute, nil)
	require.Equal(t, 4, w.serving("a"))
	require.Len(t, w.problems, 1)
	require.Contains(t, w.problems[0].Error(), "none of 2 nodes has room; of 2 2 of its 2 processors are taken")
	w.join("n3", "east")
	w.settle(time.Minute, nil)
	require.Equal(t, 5, w.serving("a"))
	require.Empty(t, w.problems)
	l := w.ops.Launchers["n3"]
	l.Capacity.Memory = 1 << 40
	w.ops.Launchers["n3"] = l
	w.publish("b", 1, func(s *cluster.Service) { s.Run.Resources = cluster.Resources{Memory: 4 << 40} })
	w.settle(time.Minute, nil)
	require.Zero(t, w.serving("b"))
	w.publish("c", 1, func(s *cluster.Service) { s.Run.Driver = cluster.DriverHook })
	w.settle(time.Minute, nil)
	require.Contains(t, w.problems[len(w.problems)-1].Error(), "no driver hook")
	require.Equal(t, 5, w.serving("a"), "the others are unaffected")
}

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
	require.Contains(t, fmt.Sprint(problems), "of 2 it refused the service a short while ago")
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
	l := w.ops.Launchers["n1"]
	l.Ports.To = l.Ports.From
	w.ops.Launchers["n1"] = l
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

func TestALeftOverClaimIsFreed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.ops.Ports["n1"][20007] = cluster.PortClaim{Service: "a", ID: "a-1", Since: w.now}
	w.settle(time.Minute, nil)
	require.Empty(t, w.ops.Ports["n1"])
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

func TestSickOneGoesWhereThereIsNoRoomForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	l := w.ops.Launchers["n1"]
	l.Capacity.CPU = 2
	w.ops.Launchers["n1"] = l
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

func TestWhatIsAssignedToNobodyIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 3, nil)
	w.publish("b", 1, nil)
	w.settle(time.Minute, nil)
	for node := range w.ops.Assigned { // the store lost all of it but what launchers tell again
		clear(w.ops.Assigned[node])
		clear(w.ops.Ports[node])
	}
	w.publish("b", -1, nil)
	placed := w.told("placed")
	w.settle(2*time.Minute, func() { require.GreaterOrEqual(t, w.serving("a"), 3) })
	require.Equal(t, 3, sum(w.hosts("a")))
	require.Equal(t, 3, w.serving("a"))
	require.Equal(t, placed+4, w.told("placed"), "none is started anew")
	require.Zero(t, sum(w.hosts("b")), "and what nobody wants is stopped")
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
	for node := range w.ops.Assigned {
		clear(w.ops.Assigned[node])
		clear(w.ops.Ports[node])
	}
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

func TestAnUnknownInstanceGoesOnceOthersServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.publish("a", 2, nil)
	w.settle(time.Minute, nil)
	for node := range w.ops.Assigned {
		clear(w.ops.Assigned[node])
		clear(w.ops.Ports[node])
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
