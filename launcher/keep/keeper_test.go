package keep

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

type wanted = map[string]cluster.Assignment

func TestAnInstanceIsShownOnceItIsReady(t *testing.T) {
	inBubble(t, func(n *node) {
		require.ErrorContains(t, n.Ready(), "has not said yet")
		n.well(20000, false)
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		require.NoError(t, n.Ready())
		require.Equal(t, cluster.PhaseStarting, n.phase("a-1"))
		_, shown := n.shown("a-1")
		require.False(t, shown)
		n.well(20000, true)
		n.after(time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		i, _ := n.shown("a-1")
		require.Equal(t, cluster.Instance{ID: "a-1", Addr: home, Port: 20000, Weight: 1, Node: "n1"}, i)

		n.well(20000, false) // the load monitor's affair from now on
		n.after(time.Minute)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		writes := len(n.order())
		n.after(10 * time.Minute)
		require.Equal(t, writes, len(n.order()), "without news nothing is written")

		n.assign(wanted{"a-1": assigned(20000, cluster.WantDrained)})
		i, _ = n.shown("a-1")
		require.True(t, i.Draining)
		require.Empty(t, n.stops())
		n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped)})
		require.Equal(t, cluster.PhaseStopped, n.phase("a-1"))
		require.Equal(t, []string{"a-1"}, n.stops())
		_, shown = n.shown("a-1")
		require.False(t, shown)
		require.Less(t, slices.Index(n.order(), "hide a-1"), slices.Index(n.order(), "stopped a-1"), "who reads that it stopped knows that nobody is sent there")
		n.assign(wanted{})
		require.Zero(t, n.told("a-1"))
		require.Equal(t, 1, n.starts("a-1"))
	})
}

func TestOneThatEndsWhileItIsDrainedIsNotStartedAnew(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.assign(wanted{"a-1": assigned(20000, cluster.WantDrained)})
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		n.driver.kill("a-1")
		n.after(time.Minute)
		require.Equal(t, cluster.PhaseCrashed, n.phase("a-1"), "the leader is told, and does not wait for connections")
		require.Equal(t, 1, n.starts("a-1"))
		_, shown := n.shown("a-1")
		require.False(t, shown)
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.after(time.Second)
		require.Equal(t, 2, n.starts("a-1"), "it is wanted again")
	})
}

func TestStandbyIsShownAsSuch(t *testing.T) {
	inBubble(t, func(n *node) {
		a := assigned(20000, cluster.WantStandby)
		a.Ports = map[string]uint16{"web": 20000, "admin": 20001}
		n.assign(wanted{"a-1": a})
		i, _ := n.shown("a-1")
		require.True(t, i.Standby)
		require.Equal(t, a.Ports, i.Ports)
		a.Wanted = cluster.WantServing
		n.assign(wanted{"a-1": a})
		i, _ = n.shown("a-1")
		require.False(t, i.Standby)
		require.Equal(t, 1, n.starts("a-1"), "it is not started again for that")
	})
}

func TestACrashIsMendedAtOnceAndThenLater(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.driver.kill("a-1")
		n.after(2 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"), "back within 2 s")
		require.Equal(t, 2, n.starts("a-1"))
		n.driver.kill("a-1")
		n.after(900 * time.Millisecond)
		require.Equal(t, cluster.PhaseCrashed, n.phase("a-1"))
		l := n.told("a-1")
		require.Equal(t, "exit code 3", l.Exit)
		require.Equal(t, []string{"out of luck"}, l.Output)
		require.False(t, l.NextTry.IsZero())
		_, shown := n.shown("a-1")
		require.False(t, shown, "nobody is sent to what does not run")
		n.after(3 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))

		for range 30 { // 1 s, 1.5 s, 2.25 s, ... 300 s
			n.driver.kill("a-1")
			n.after(301 * time.Second)
			require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		}
		n.driver.kill("a-1")
		n.after(298 * time.Second)
		require.Equal(t, cluster.PhaseCrashed, n.phase("a-1"), "it is started each 5 minutes at most")
		n.after(4*time.Second + steady)
		before := n.starts("a-1")
		n.driver.kill("a-1")
		n.after(2 * time.Second)
		require.Equal(t, before+1, n.starts("a-1"), "what ran for long is started at once again")
	})
}

func TestNothingIsStoppedWithoutAWord(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)})
		n.etcd(func(s *store) {
			clear(s.launched) // the store was wiped
			clear(s.registered)
		})
		n.assign(wanted{})
		n.after(time.Hour)
		require.Empty(t, n.stops())
		require.Contains(t, n.told("a-1").Problem.What, "assigned to nobody", "the leader is told")
		_, shown := n.shown("a-1")
		require.True(t, shown, "it goes on serving")
		n.driver.kill("a-2")
		n.after(time.Minute)
		require.Equal(t, 1, n.starts("a-2"), "nobody wants it started")
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantStopped)})
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Equal(t, 1, n.starts("a-1"))
		require.Equal(t, cluster.PhaseStopped, n.phase("a-2"))
	})
}

func TestStoreAway(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.etcd(func(s *store) { s.away = true })
		n.driver.kill("a-1")
		n.after(3 * time.Second)
		require.Equal(t, 2, n.starts("a-1"), "no word of the store is waited for")
		n.etcd(func(s *store) { s.away = false })
		n.after(3 * time.Second)
		require.Equal(t, 2, n.told("a-1").Starts)
	})
}

func TestAKeeperThatBeginsAnewTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		first := newNode(t, d, nil)
		first.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)})
		first.end()
		second := newNode(t, d, nil)
		defer second.end()
		second.etcd(func(s *store) { s.launched, s.registered = first.store.launched, first.store.registered })
		second.well(20000, false)
		d.kill("a-2")
		second.after(time.Minute)
		require.Equal(t, 1, second.starts("a-2"), "nothing is done before it is known what is wanted")
		second.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)})
		second.after(time.Minute)
		require.Equal(t, 1, second.starts("a-1"))
		require.Equal(t, 2, second.starts("a-2"))
		require.NotContains(t, second.order(), "hide a-1", "it may have been ready for days")
		require.Equal(t, cluster.PhaseReady, second.phase("a-1"))
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(n *node) {
		n.host(func(d *driver) {
			d.refuse["a-1"] = launcher.Refuse([]cluster.Problem{{Object: "instance a-1", Field: "user", What: "root is not allowed", Fix: "x"}})
			d.refuse["a-2"] = fmt.Errorf("instance a-2: %w", launcher.Busy(20011))
			d.refuse["a-3"] = errors.New("fork: no memory")
		})
		odd := assigned(20003, cluster.WantServing)
		odd.Run.Driver = "hook"
		two := assigned(20001, cluster.WantServing)
		two.Ports = map[string]uint16{"admin": 20001, "web": 20011}
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": two, "a-3": assigned(20002, cluster.WantServing), "a-4": odd, "a-5": assigned(20004, cluster.WantServing)})
		require.Equal(t, cluster.PhaseRefused, n.phase("a-1"))
		require.Equal(t, "root is not allowed", n.told("a-1").Problem.What)
		require.Equal(t, cluster.PhaseRefused, n.phase("a-2"))
		require.Equal(t, uint16(20011), n.told("a-2").PortBusy, "this one, and not the first")
		require.Equal(t, cluster.PhaseCrashed, n.phase("a-3"))
		require.Contains(t, n.told("a-3").Problem.What, "no memory")
		require.Equal(t, cluster.PhaseRefused, n.phase("a-4"))
		require.Contains(t, n.told("a-4").Problem.What, "no driver hook")
		require.Equal(t, cluster.PhaseReady, n.phase("a-5"), "the others are unaffected")
		n.host(func(d *driver) {
			delete(d.refuse, "a-2")
			delete(d.refuse, "a-3")
		})
		n.after(time.Minute)
		require.Zero(t, n.starts("a-1")+n.starts("a-2"), "they are placed elsewhere by now")
		require.Equal(t, 1, n.starts("a-3"))

		n.assign(wanted{"a-5": assigned(20004, cluster.WantServing), "a-6": assigned(22, cluster.WantServing)})
		require.Equal(t, cluster.PhaseRefused, n.phase("a-6"))
		require.Equal(t, "port 22 is outside of 20000-29999, which this node gives to instances", n.told("a-6").Problem.What)
		require.Zero(t, n.starts("a-6"))
		require.Equal(t, cluster.PhaseReady, n.phase("a-5"))
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped), "a-4": odd})
		require.Equal(t, cluster.PhaseRefused, n.phase("a-1"), "its word stands as long as the leader leaves it there")
		require.Equal(t, "root is not allowed", n.told("a-1").Problem.What)
		n.assign(wanted{})
		require.Zero(t, n.told("a-1"))
	})
}

// Why an instance does not start stays told until it does, whatever the leader says meanwhile.
func TestAStartThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(n *node) {
		n.host(func(d *driver) { d.refuse["a-1"] = errors.New("fork: no memory") })
		for i := range 20 {
			n.store.assignments <- wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(uint16(20001+i), cluster.WantServing)}
			n.after(1300 * time.Millisecond)
			l := n.told("a-1")
			require.Equal(t, cluster.PhaseCrashed, l.Phase)
			require.NotNil(t, l.Problem)
			require.Contains(t, l.Problem.What, "no memory")
			require.True(t, l.NextTry.After(time.Now()))
		}
		n.host(func(d *driver) { clear(d.refuse) })
		n.after(10 * time.Minute)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Nil(t, n.told("a-1").Problem)
	})
}

// The launcher's log, to which the Problem leads, has it as well.
func TestAStartThatFailsIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNode(t, newDriver(), nil, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		n.host(func(d *driver) { d.refuse["a-1"] = errors.New("hook acquire: exit status 1") })
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.end()
		require.Contains(t, log.String(), `msg="an instance could not be started" service=a instance=a-1 err="hook acquire: exit status 1" next=1s`)
	})
}

func TestStopThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.stopErr = errors.New("it does not end") })
		n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped)})
		require.Equal(t, cluster.PhaseStopping, n.phase("a-1"))
		n.after(2 * time.Second) // of one phase it is told once a second
		require.Contains(t, n.told("a-1").Problem.What, "it does not end")
		n.host(func(d *driver) { d.slow = 1500 * time.Millisecond })
		writes := len(n.order())
		n.after(10 * time.Second)
		require.Contains(t, n.told("a-1").Problem.What, "it does not end", "as long as it is so")
		require.Equal(t, writes, len(n.order()), "once")
		n.host(func(d *driver) { d.stopErr = nil })
		n.after(4 * time.Second)
		require.Equal(t, cluster.PhaseStopped, n.phase("a-1"))
		n.assign(wanted{"a-2": assigned(20000, cluster.WantStopped)})
		require.Equal(t, cluster.PhaseStopped, n.phase("a-2"), "what never ran is stopped already")
	})
}

// What a driver found before an instance was ended is not true any more, however late it comes.
func TestALookThatBeganBeforeTheEnd(t *testing.T) {
	inBubble(t, func(n *node) {
		n.host(func(d *driver) { d.lag = 800 * time.Millisecond })
		for i := range 13 { // wherever the look is by then
			n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
			n.after(3*time.Second + time.Duration(i)*100*time.Millisecond)
			require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
			before := len(n.order())
			n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped)})
			n.after(3 * time.Second)
			told := n.order()[before:]
			require.Equal(t, "hide a-1", told[0])
			require.Equal(t, len(told)-1, slices.Index(told, "stopped a-1"), "once, and nothing else after it: %q", told)
		}
	})
}

// One that crashes again and again is starting as often as not: what led there is told all the time.
func TestACrashIsToldOfUntilItIsReadyAgain(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.well(20000, false)
		n.driver.kill("a-1")
		for range 2 {
			n.after(2 * time.Second)
			l := n.told("a-1")
			require.Equal(t, cluster.PhaseStarting, l.Phase)
			require.Equal(t, "exit code 3", l.Exit)
			require.Equal(t, []string{"out of luck"}, l.Output)
		}
		writes := len(n.order())
		n.after(5 * time.Second)
		require.Equal(t, writes, len(n.order()), "once")
		n.well(20000, true)
		n.after(2 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Empty(t, n.told("a-1").Output)
	})
}

// An instance that runs otherwise than it was asked for says so: each limit that its host cannot set.
func TestProblemsOfOneFieldAreToldTogether(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		require.Nil(t, n.told("a-1").Problem)
		n.host(func(d *driver) {
			st := *d.there["a-1"]
			for _, p := range [][2]string{{"resources", "memory is not limited"}, {"resources", "processor time is not limited"}, {"log", "9 lines were lost"}} {
				st.Problems = append(st.Problems, cluster.Problem{Object: "instance a-1", Field: p[0], What: p[1]})
			}
			d.there["a-1"] = &st
		})
		n.after(2 * time.Second)
		require.Equal(t, "memory is not limited; processor time is not limited", n.told("a-1").Problem.What)
	})
}

func TestADriverThatSeesNothingSaysNothing(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.blind = errors.New("input/output error") })
		n.after(time.Minute)
		require.ErrorContains(t, n.Ready(), "driver process: input/output error")
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Equal(t, 1, n.starts("a-1"))
	})
}

// Nobody knows whether it runs already, so it is not started, and why is told: of an instance that is new, and of no other.
func TestADriverThatSeesNothingIsToldOf(t *testing.T) {
	inBubble(t, func(n *node) {
		ready := cluster.Launched{Service: "a", Phase: cluster.PhaseReady}
		n.etcd(func(s *store) {
			s.launched["a-1"], s.registered["a-1"] = ready, cluster.Instance{ID: "a-1"} // as the Keeper before this one told
			s.away = true
		})
		n.host(func(d *driver) { d.blind = errors.New("hook list: no answer after 30s") })
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)})
		n.etcd(func(s *store) { s.away = false })
		n.after(2 * time.Second)
		require.Equal(t, ready, n.told("a-1"))
		require.Equal(t, cluster.PhaseStarting, n.phase("a-2"))
		require.Equal(t, "instance a-2: run: driver process does not say what runs: hook list: no answer after 30s: see weir logs and the launcher's log on that node", n.told("a-2").Problem.Error())
		require.Zero(t, n.starts("a-1")+n.starts("a-2"))
		require.Equal(t, 1, n.registered())

		n.host(func(d *driver) { d.blind = nil })
		n.after(5 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-2"))
		require.Nil(t, n.told("a-2").Problem)
		require.Equal(t, 2, n.registered())
	})
	inBubble(t, func(n *node) {
		n.host(func(d *driver) { d.blind = errors.New("hook list: no answer after 30s") })
		n.assign(wanted{"a-2": assigned(20001, cluster.WantServing)})
		require.Equal(t, cluster.PhaseStarting, n.phase("a-2"))
		n.assign(nil)
		require.Empty(t, n.phase("a-2"), "forgotten with what was wanted")
	})
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{Node: "N 1"})
	require.ErrorContains(t, err, "node: name")
	require.ErrorContains(t, err, "no driver")
	require.ErrorContains(t, err, "a store and a probe")
}

func TestMetricsAreNamedAsTheyShould(t *testing.T) {
	r := prometheus.NewRegistry()
	NewMetrics(r)
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestAMachineShowsItself: what the hook acquired is told of, and joins on its own.
func TestAMachineShowsItself(t *testing.T) {
	inBubble(t, func(n *node) {
		a := cluster.Assignment{Kind: cluster.KindNode, For: "a", Run: cluster.Run{Nodes: map[string]string{"zone": "east"}}, Wanted: cluster.WantServing, Version: "node"}
		n.assign(wanted{"node-1": a})
		require.Equal(t, cluster.PhaseReady, n.phase("node-1"))
		require.Equal(t, cluster.Launched{Kind: cluster.KindNode, For: "a"}, kindOf(n.told("node-1")))
		_, shown := n.shown("node-1")
		require.False(t, shown)
		require.Equal(t, launcher.Spec{Kind: cluster.KindNode, ID: "node-1", Service: "a", Labels: map[string]string{"zone": "east"}}, specOf("node-1", &a))

		imaged := assigned(20000, cluster.WantServing)
		imaged.Run.Image = "shop:1"
		require.Equal(t, "shop:1", specOf("a-1", &imaged).Image)

		n.assign(wanted{}) // the store lost it
		n.host(func(d *driver) { d.there["node-1"].Kind = cluster.KindNode })
		n.after(2 * time.Minute)
		require.Equal(t, cluster.Launched{Kind: cluster.KindNode, For: "a"}, kindOf(n.told("node-1")))
		require.Empty(t, n.stops())

		a.Wanted = cluster.WantStopped
		n.assign(wanted{"node-1": a})
		require.Equal(t, cluster.PhaseStopped, n.phase("node-1"))
		require.Equal(t, []string{"node-1"}, n.stops())
	})
}

func kindOf(l cluster.Launched) cluster.Launched {
	return cluster.Launched{Kind: l.Kind, Service: l.Service, For: l.For}
}
