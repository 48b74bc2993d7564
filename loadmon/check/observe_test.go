package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// Five nodes and an instance on none of them: three check it, all others agree on which, and their majority decides.
func TestThreeObserve(t *testing.T) {
	t.Parallel()
	l, a := server(t, "192.168.71.1:0")
	id := ID{"a", a.String()}
	d := cluster.NewDraft()
	d.Service("a", service("a", tcp(), a))
	nodes := map[string]*Checker{}
	for i := range 5 {
		name := fmt.Sprintf("n%d", i)
		d.Node(name, &cluster.Node{Monitor: "http://192.168.70.1:9647"})
		nodes[name] = New(Options{Node: name})
	}
	version := int64(0)
	deliver := func() *cluster.Snapshot {
		for name, c := range nodes {
			d.Health(name, c.Health())
		}
		version++
		s := d.Snapshot(version)
		for _, c := range nodes {
			c.Want(s)
		}
		return s
	}
	status := func(s *cluster.Snapshot) cluster.Status {
		in, _ := s.Services.Get("a")
		return cluster.Resolve(in).Instances[0].Status
	}
	watching := func() (names []string) {
		for name, c := range nodes {
			if _, checks := c.Results()[id]; checks {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	first := deliver()
	chosen := slices.Sorted(slices.Values(first.Observers.Of("a", id.Instance)))
	require.Len(t, chosen, 3)
	require.Equal(t, chosen, watching())
	for _, c := range nodes {
		start(t, c)
	}
	_ = l.Close()
	becomes(t, nodes[chosen[0]], id, cluster.Dead)
	becomes(t, nodes[chosen[1]], id, cluster.Dead)
	require.Equal(t, cluster.IsDead, status(deliver()))

	// Two of them are declared down: others take their places, and their words are void until they have looked.
	d.Down(chosen[0], &cluster.Down{})
	d.Down(chosen[1], &cluster.Down{})
	deliver()
	now := watching()
	require.Len(t, now, 3)
	require.Contains(t, now, chosen[2])
	require.Empty(t, intersect(now, chosen[:2]))
	for _, name := range now {
		becomes(t, nodes[name], id, cluster.Dead)
	}
	require.Equal(t, cluster.IsDead, status(deliver()))
	require.Empty(t, nodes[chosen[0]].Health(), "who does not observe any more says nothing")
	server(t, a.String())
	for _, name := range now {
		becomes(t, nodes[name], id, "")
	}
	require.Equal(t, cluster.Serving, status(deliver()))
}

func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// An instance that flaps at 1 Hz has few changes of verdict, and comes back when it stays.
func TestFlappingInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, Options{}, world(reporting(time.Hour)).Snapshot(1))
		changes, last := 0, cluster.Verdict("")
		count := func() {
			if v := verdict(c); v != last {
				changes, last = changes+1, v
			}
		}
		for range 600 {
			require.NoError(t, c.Tell(mine, Word{State: Fail}))
			count()
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, c.Tell(mine, Word{State: OK}))
			count()
			time.Sleep(500 * time.Millisecond)
			count()
		}
		require.LessOrEqual(t, changes, 5, "in ten minutes")
		require.GreaterOrEqual(t, changes, 1)
		time.Sleep(maxHold + time.Second)
		require.Empty(t, verdict(c))
	})
}

// While the process does not run, as under SIGSTOP, nobody can report to it and its checks see no answer in time. None of
// that is the instances' fault.
func TestPauseOfTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Node: "n1"})
		c.Want(world(reporting(30 * time.Second)).Snapshot(1))
		s := c.subjects[mine]
		time.Sleep(29 * time.Second)
		time.Sleep(5 * time.Minute)
		c.missed(5 * time.Minute)
		s.listen(c.now())
		c.tell(s)
		require.Empty(t, c.Health())
		time.Sleep(2 * time.Second)
		s.listen(c.now())
		c.tell(s)
		require.Equal(t, cluster.Failing, verdict(c))
	})
}

func TestCheckThatWasStopped(t *testing.T) {
	t.Parallel()
	limit := cluster.Duration(50 * time.Millisecond)
	slow := task{address: mineAt, check: &cluster.Check{TTL: &cluster.TTLCheck{}, Timeout: limit}}
	synctest.Test(t, func(t *testing.T) {
		for took, want := range map[time.Duration]Kind{
			time.Duration(limit) + stopped/2: Bad, time.Duration(limit) + 2*stopped: Unknown,
		} {
			o := timed(t.Context(), slow, time.Now(), func(context.Context, task) Outcome { time.Sleep(took); return Outcome{Kind: Bad, Reason: "no answer"} })
			require.Equal(t, want, o.Kind)
		}
	})
}

// A service that changes is followed: other instances, another address, another check, none.
func TestWantFollowsTheService(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	_, b := server(t, host+":0")
	d := world(service("a", tcp(), a))
	version := int64(1)
	c := running(t, Options{}, d.Snapshot(version))
	want := func(s *cluster.Service) {
		d.Service("a", s)
		version++
		c.Want(d.Snapshot(version))
	}
	ids := func() (out []string) {
		for id := range c.Results() {
			out = append(out, id.Instance)
		}
		slices.Sort(out)
		return out
	}
	_ = l.Close()
	becomes(t, c, ID{"a", a.String()}, cluster.Dead)
	want(service("a", tcp(), a, b))
	require.ElementsMatch(t, []string{a.String(), b.String()}, ids())
	require.Equal(t, cluster.Dead, c.Health()["a"][a.String()].Verdict)

	moved := service("a", tcp(), a) // the same id at an address where somebody answers
	moved.Instances[0].Port = b.Port()
	want(moved)
	becomes(t, c, ID{"a", a.String()}, "")
	want(service("a", tcp(), a))
	becomes(t, c, ID{"a", a.String()}, cluster.Dead)
	want(service("a", nil, a))
	require.Empty(t, c.Health(), "without the check nobody would ever find it well")
	want(service("a", tcp(), a))
	becomes(t, c, ID{"a", a.String()}, cluster.Dead)
	drain(c)
	want(nil)
	require.Empty(t, c.Results())
	require.Empty(t, c.Health())
	select {
	case <-c.Changed():
	default:
		t.Fatal("that nothing is said any more is a change")
	}
}

func drain(c *Checker) {
	select {
	case <-c.Changed():
	default:
	}
}

// An instance that does not offer the port of the check is not checked, and the others are.
func TestPortOfTheCheck(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	a := peer(t, func(net.Conn) { seen.Add(1) })
	s := service("a", tcp(), netip.AddrPortFrom(a.Addr(), 1))
	s.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "health", Port: 81, Protocol: cluster.TCP}}
	s.Check.Port = "health"
	s.Instances[0].Ports = map[string]uint16{"health": a.Port()}
	s.Instances = append(s.Instances, cluster.Instance{ID: "other", Addr: a.Addr(), Ports: map[string]uint16{"web": 1}, Weight: 1})
	c := running(t, Options{}, world(s).Snapshot(1))
	require.Eventually(t, func() bool { return seen.Load() > 1 }, 20*time.Second, 5*time.Millisecond)
	require.Zero(t, c.Results()[ID{"a", "other"}].Connections)
	require.Empty(t, c.Health())
}

// A service whose instances all run elsewhere is none of this node's business, also when it was before.
func TestServiceOfAnotherNode(t *testing.T) {
	t.Parallel()
	d := world(service("a", tcp(), mineAt))
	c := New(Options{Node: "n1"})
	c.Want(d.Snapshot(1))
	require.NoError(t, c.Tell(mine, Word{State: Leave}))
	require.Len(t, c.Results(), 1)
	d.Node("n2", &cluster.Node{Addresses: []netip.Addr{mineAt.Addr()}})
	d.Node("n1", &cluster.Node{Monitor: "http://" + host + ":9647"})
	c.Want(d.Snapshot(2))
	require.Empty(t, c.Results())
	require.Empty(t, c.Health())
	d.Node("n2", nil)
	c.Want(d.Snapshot(3))
	require.Len(t, c.Results(), 1, "it runs on no node of ours, and this one is its only observer")
}
