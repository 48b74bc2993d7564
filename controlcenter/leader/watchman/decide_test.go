package watchman

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/jump"
)

// bound is from a machine's end: its lease, and 5 s.
const bound = leaseTTL + 5*time.Second

func TestOneOfTwoNodesDies(t *testing.T) {
	s := newSim(2)
	s.kill("n1")
	s.requireDownWithin(t, bound, "n1")
	require.Equal(t, "its agent has been gone from etcd for 4s, and its instances do not answer n2", s.sight.Nodes["n1"].Down.Reason)
	s.kill("n2")
	s.requireNeverDown(t, 5*time.Minute)
	require.Equal(t, cluster.HeldBack, s.sight.Recorded["n2"].State, "nobody is left who could look")
	require.Contains(t, s.sight.Recorded["n2"].Reason, "there is no other node")
	require.NotContains(t, s.sight.Recorded, "n1", "of a node that is down there is nothing else to say")
	s.revive("n1", "n2")
	s.run(time.Second)
	require.Empty(t, s.down())
	require.Equal(t, []string{"n1"}, s.up)
	require.Empty(t, s.sight.Recorded)
}

func TestOneOfThreeNodesDies(t *testing.T) {
	s := newSim(3)
	s.kill("n2")
	took := s.requireDownWithin(t, bound, "n2")
	require.GreaterOrEqual(t, took, leaseTTL+goneFor)
	require.Contains(t, s.sight.Nodes["n2"].Down.Reason, "do not answer n1 and n3")
	require.Zero(t, s.raised)
	s.requireNeverDown(t, 10*time.Minute)
}

// Of many load monitors one can be asked, which is not among those of each look: what is said of the node does not change with that.
func TestWhatIsSaidOfANodeStays(t *testing.T) {
	s := newSim(10)
	for _, name := range s.names()[2:] {
		s.machines[name].monitor = false
	}
	said, looks := []string{}, 0
	s.check = func(o Orders) {
		looks += len(o.Looks)
		if now := o.Gone["n1"].Reason; now != "" && !slices.Contains(said[max(0, len(said)-1):], now) {
			said = append(said, now)
		}
	}
	s.kill("n1")
	s.requireNeverDown(t, 5*time.Minute)
	require.Greater(t, looks, 100)
	require.LessOrEqual(t, len(said), 2, said)
	require.Contains(t, said[len(said)-1], "the only load monitor that could be asked")
}

func TestFourOfTenOneAfterAnother(t *testing.T) {
	s := newSim(10)
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		s.kill(name)
		s.run(5 * time.Second)
	}
	s.requireDownWithin(t, bound, "n1", "n2", "n3")
	s.requireDownWithin(t, time.Second+window, "n1", "n2", "n3", "n4")
	require.GreaterOrEqual(t, s.declared[3].at.Sub(s.declared[0].at), window, "the fourth waits for its turn")
	require.Zero(t, s.raised, "one at a time is no reason for an alarm")
}

func TestTheFourthIsHeldMeanwhile(t *testing.T) {
	s := newSim(10)
	for _, name := range []string{"n1", "n2", "n3"} {
		s.kill(name)
		s.run(5 * time.Second)
	}
	s.requireDownWithin(t, bound, "n1", "n2", "n3")
	s.kill("n4")
	s.run(leaseTTL + 8*time.Second)
	require.Equal(t, cluster.HeldBack, s.sight.Recorded["n4"].State)
	require.Equal(t, "at most 3 may be declared down within a minute, and so many were", s.sight.Recorded["n4"].Reason)
	require.Len(t, s.last.Problems, 1)
}

func TestSixOfTenAtOnce(t *testing.T) {
	s := newSim(10)
	s.kill("n1", "n2", "n3", "n4", "n5", "n6")
	s.requireNeverDown(t, 20*time.Minute)
	require.Equal(t, 1, s.raised)
	require.NotNil(t, s.last.Alarm)
	require.Equal(t, "nodes: 6 of 10 nodes that host instances are gone at once, and at most 3 may be declared down within a minute: so none is: "+
		"look for what they share; of those that are dead: weir node down NODE --reason TEXT, or weir node forget NODE", s.last.Problems[0].Error())
	require.Len(t, s.last.Problems, 7)
	require.Len(t, s.sight.Recorded, 6)
	for name, gone := range s.sight.Recorded {
		require.Equal(t, cluster.HeldBack, gone.State, name)
	}
	s.elect()
	s.requireNeverDown(t, 10*time.Minute)

	// The operator takes three of them out by hand; what is left is not too many any more.
	for _, name := range []string{"n1", "n2", "n3"} {
		n := s.sight.Nodes[name]
		n.Down = &cluster.Down{Reason: "rack 7", Since: s.now}
		s.sight.Nodes[name] = n
	}
	s.requireDownWithin(t, 10*time.Second, "n1", "n2", "n3", "n4", "n5", "n6")
	s.run(time.Second)
	require.Nil(t, s.last.Alarm)
	require.Empty(t, s.last.Problems)
}

func TestAnAgentThatStopsBesideHealthyInstances(t *testing.T) {
	s := newSim(3)
	s.stop("n1")
	s.requireNeverDown(t, 5*time.Minute)
	gone := s.sight.Recorded["n1"]
	require.Equal(t, cluster.Unwatched, gone.State)
	require.Contains(t, gone.Reason, "its agent is not in touch with etcd, but 10.0.0.1:80 answers n")
	require.Empty(t, s.last.Problems)
	s.run(time.Minute)
	require.Equal(t, gone, s.sight.Recorded["n1"], "who answers whom changes with each look, and is not written again")

	s.kill("n1") // and then it dies
	s.requireDownWithin(t, 10*time.Second, "n1")
	s.step()
	s.revive("n1")
	s.run(time.Second)
	require.Equal(t, []string{"n1"}, s.up)
}

// All agents of a cluster that stop, say for a bad upgrade, are no reason to do anything.
func TestMostAgentsStop(t *testing.T) {
	s := newSim(10)
	s.stop("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8")
	s.requireNeverDown(t, 5*time.Minute)
	require.Zero(t, s.raised)
	require.Len(t, s.sight.Recorded, 8)
}

func TestOneSilentLookAtANodeThatAnsweredIsNotEnough(t *testing.T) {
	s := newSim(3)
	s.stop("n1")
	s.run(20 * time.Second)
	for range 20 {
		s.kill("n1") // its instances start anew
		for n := 0; s.state.tracks["n1"].seen != doubted; n++ {
			require.Less(t, n, 100)
			s.step()
		}
		s.machines["n1"].on = true
		s.run(7 * time.Second)
	}
	require.Empty(t, s.declared)
	require.Equal(t, cluster.Unwatched, s.sight.Recorded["n1"].State)
}

func TestANodeAloneIsNeverDeclaredDown(t *testing.T) {
	s := newSim(1)
	s.kill("n1")
	s.requireNeverDown(t, 10*time.Minute)
	require.Equal(t, cluster.HeldBack, s.sight.Recorded["n1"].State)
}

func TestNobodyCanLook(t *testing.T) {
	s := newSim(3)
	s.machines["n2"].monitor, s.machines["n3"].monitor = false, false
	s.kill("n1")
	s.requireNeverDown(t, 5*time.Minute)
	require.Contains(t, s.sight.Recorded["n1"].Reason, "could not be asked")
	s.machines["n2"].monitor = true
	s.requireNeverDown(t, 5*time.Minute)
	s.machines["n3"].monitor = true
	s.requireDownWithin(t, 10*time.Second, "n1")
}

// Of the two others one cannot look: what the only one sees may be its own way that is broken. An operator is asked.
func TestOneOfTwoOthersCannotLook(t *testing.T) {
	s := newSim(3)
	s.machines["n3"].monitor = false
	s.kill("n1")
	s.requireNeverDown(t, 5*time.Minute)
	require.Equal(t, cluster.HeldBack, s.sight.Recorded["n1"].State)
	require.Equal(t, "its instances do not answer the only load monitor that could be asked, and one is not enough", s.sight.Recorded["n1"].Reason)
	require.Len(t, s.last.Problems, 1)
	require.Contains(t, s.last.Problems[0].Fix, "weir node down n1")

	s.sight.Nodes["n3"] = Node{Hosts: true} // a node that says that it has none is not asked: then one is all there is
	s.requireDownWithin(t, 10*time.Second, "n1")
}

func TestWhatHostsNothingIsLeftAlone(t *testing.T) {
	s := newSim(3)
	s.sight.Nodes["n1"] = Node{Monitor: true}
	s.kill("n1")
	s.requireNeverDown(t, 5*time.Minute)
	require.Empty(t, s.sight.Recorded)
	s.sight.Nodes["n1"] = Node{Monitor: true, Hosts: true} // something is published there
	s.requireDownWithin(t, 10*time.Second, "n1")
}

func TestANewLeaderWatchesFirst(t *testing.T) {
	s := newSim(3)
	s.kill("n1")
	s.run(leaseTTL + 2*time.Second)
	s.elect()
	took := s.requireDownWithin(t, leaseTTL+goneFor+5*time.Second, "n1")
	require.GreaterOrEqual(t, took, leaseTTL+goneFor)
}

// An etcd that stands still for 30 s loses all leases when it goes on, and agents need a moment to register anew.
func TestEtcdStandsStill(t *testing.T) {
	for _, elected := range []bool{false, true} {
		t.Run(fmt.Sprintf("elected=%v", elected), func(t *testing.T) {
			s := newSim(10)
			s.etcd = false
			s.requireNeverDown(t, 30*time.Second)
			if elected {
				s.elect()
			}
			s.etcd = true
			for _, m := range s.machines {
				m.agent, m.on = false, false // nor do instances answer
			}
			clear(s.sight.Alive)
			s.requireNeverDown(t, leaseTTL+goneFor-time.Second)
			s.revive(s.names()...)
			s.requireNeverDown(t, time.Minute)
			require.Empty(t, s.sight.Recorded)
			require.Zero(t, s.raised)
		})
	}
}

// A wall clock that is set an hour ahead or back ends nobody's lease, and hides nobody's end.
func TestTheLeadersClockJumps(t *testing.T) {
	for _, hours := range []int{1, -1} {
		s := newSim(3)
		s.now = time.Now()
		s.sight.Answered = s.now
		s.elect()
		s.run(leaseTTL + goneFor)
		s.now = jump.Wall(s.now, hours)
		s.requireNeverDown(t, time.Minute)
		s.kill("n1")
		s.run(5 * time.Second)
		s.now = jump.Wall(s.now, hours)
		took := s.requireDownWithin(t, bound-5*time.Second, "n1")
		require.GreaterOrEqual(t, took, leaseTTL+goneFor-5*time.Second)
	}
}

func TestPaused(t *testing.T) {
	s := newSim(3)
	s.sight.Paused = true
	s.kill("n1")
	s.requireNeverDown(t, 5*time.Minute)
	require.Contains(t, s.sight.Recorded["n1"].Reason, "weir resume")
	s.sight.Paused = false
	s.requireDownWithin(t, 5*time.Second, "n1")
}

// What the leader before declared counts against what its successor may.
func TestTheGuardOutlivesALeader(t *testing.T) {
	s := newSim(3)
	s.kill("n1")
	s.requireDownWithin(t, bound, "n1")
	s.elect()
	s.kill("n2")
	s.step()
	s.revive("n1") // who could look
	s.run(leaseTTL + goneFor + 5*time.Second)
	require.Empty(t, s.down())
	require.Contains(t, s.sight.Recorded["n2"].Reason, "at most 1 may be declared down")
	s.requireDownWithin(t, window, "n2")
	require.GreaterOrEqual(t, s.declared[1].at.Sub(s.declared[0].at), window-tick)
}

func TestAWriteThatGotLostIsRepeated(t *testing.T) {
	s := newSim(5)
	s.kill("n1")
	for len(s.declared) == 0 {
		s.step()
	}
	n := s.sight.Nodes["n1"]
	n.Down = nil
	s.sight.Nodes["n1"] = n
	s.run(4 * time.Second)
	require.Len(t, s.declared, 1, "it may be under way")
	s.requireDownWithin(t, window+5*time.Second, "n1")
}

func TestAnOperatorTakesItBack(t *testing.T) {
	s := newSim(3)
	s.kill("n1")
	s.requireDownWithin(t, bound, "n1")
	n := s.sight.Nodes["n1"]
	n.Down = nil
	s.sight.Nodes["n1"] = n
	s.machines["n1"].on, s.machines["n1"].agent = true, false
	s.requireNeverDown(t, 2*time.Minute)
	require.Equal(t, cluster.Unwatched, s.sight.Recorded["n1"].State)
	require.Empty(t, s.up, "it is not back")

	delete(s.sight.Nodes, "n1") // forgotten
	s.run(time.Second)
	require.Empty(t, s.sight.Recorded)
	require.NotContains(t, s.state.tracks, "n1")
}

// A lease that comes and goes each second, or each ten, costs nothing and nobody.
func TestFlapping(t *testing.T) {
	for _, half := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second} {
		t.Run(half.String(), func(t *testing.T) {
			s := newSim(3)
			changes, before := 0, cluster.Gone{}
			for range 60 {
				s.stop("n1")
				s.run(half)
				s.revive("n1")
				s.run(half)
				if now := s.sight.Recorded["n1"]; now != before {
					changes, before = changes+1, now
				}
			}
			require.Empty(t, s.declared)
			require.LessOrEqual(t, changes, 60)
		})
	}
}

func TestDecideLeavesItsInputAlone(t *testing.T) {
	s := newSim(5)
	s.kill("n1")
	for range 200 {
		before := s.state
		copied := before.clone()
		Decide(s.state, s.sight)
		require.Equal(t, copied.tracks, before.clone().tracks)
		require.Equal(t, copied.declared, before.declared)
		s.step()
	}
}
