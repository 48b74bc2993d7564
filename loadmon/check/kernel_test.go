package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/sample"
)

// Without any check a process that ends is noticed within a second, and so is one that is there again.
func TestListenerThatIsGone(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]*cluster.Check{
		"no check": nil,
		"ttl":      {TTL: &cluster.TTLCheck{TTL: cluster.Duration(time.Hour)}},
		"seldom":   {TCP: &cluster.TCPCheck{}, Interval: cluster.MaxInterval, Rise: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, a := server(t, host+":0")
			id := ID{"a", a.String()}
			c := running(t, Options{Listening: sample.Listening}, world(service("a", check, a)).Snapshot(1))
			heard(t, c, id)
			_ = l.Close()
			gone := time.Now()
			h := becomes(t, c, id, cluster.Dead)
			require.Less(t, time.Since(gone), 5*time.Second, "1 s on a machine that has time")
			require.Contains(t, h.Reason, "connection refused")
			server(t, a.String())
			becomes(t, c, id, "")
		})
	}
}

// brisk looks ten times as often.
func brisk(t *testing.T, o Options, s *cluster.Snapshot) *Checker {
	t.Helper()
	o.Node = "n1"
	c := New(o)
	c.every = LookInterval / 10
	c.Want(s)
	start(t, c)
	return c
}

func heard(t *testing.T, c *Checker, id ID) {
	t.Helper()
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.subjects[id].kernel.heard) > 0
	}, 20*time.Second, 5*time.Millisecond)
}

// What was never seen here, as in a namespace of its own, is never missed; nor is what answers although its listener is gone.
func TestListenerThatIsNotMissed(t *testing.T) {
	t.Parallel()
	_, a := server(t, host+":0")
	var there atomic.Bool
	var looks atomic.Int64
	listening := func() ([]netip.AddrPort, error) {
		looks.Add(1)
		if there.Load() {
			return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())}, nil
		}
		return nil, nil
	}
	never := netip.MustParseAddrPort(host + ":2")
	c := brisk(t, Options{Listening: listening}, world(service("a", nil, a, never)).Snapshot(1))
	there.Store(true)
	heard(t, c, ID{"a", a.String()})
	there.Store(false)
	from := looks.Load()
	require.Eventually(t, func() bool { return looks.Load() > from+6 }, 20*time.Second, 10*time.Millisecond)
	require.Empty(t, c.Health())
}

// A verdict of before the restart holds until the instance is there.
func TestListenerThatWasGoneBefore(t *testing.T) {
	t.Parallel()
	_, back := server(t, host+":0")
	gone := netip.MustParseAddrPort(host + ":3")
	d := world(service("a", nil, back, gone))
	dead := cluster.Health{Verdict: cluster.Dead, Reason: "before"}
	d.Health("n1", cluster.NodeHealth{"a": {back.String(): dead, gone.String(): dead}})
	c := brisk(t, Options{Listening: func() ([]netip.AddrPort, error) { return nil, nil }}, d.Snapshot(1))
	becomes(t, c, ID{"a", back.String()}, "") // by a connection: no look ever shows it
	require.Equal(t, dead, c.Health()["a"][gone.String()])
}

// A process that was started anew does not know what the one before said.
func TestLeaveEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	id := ID{"a", a.String()}
	c := brisk(t, Options{Listening: sample.Listening}, world(service("a", nil, a)).Snapshot(1))
	heard(t, c, id)
	require.NoError(t, c.Tell(id, Word{State: Leave}))
	becomes(t, c, id, cluster.Leaving)
	_ = l.Close()
	becomes(t, c, id, cluster.Dead)
	server(t, a.String())
	becomes(t, c, id, "")
}

// Where sockets cannot be listed nothing is missed, and it is said once.
func TestSocketsThatCannotBeListed(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	id := ID{"a", a.String()}
	var fail atomic.Bool
	var failed atomic.Int64
	listening := func() ([]netip.AddrPort, error) {
		if fail.Load() {
			failed.Add(1)
			return nil, errors.New("no netlink")
		}
		return sample.Listening()
	}
	log := &lines{}
	c := brisk(t, Options{Listening: listening, Logger: log.logger()}, world(service("a", nil, a)).Snapshot(1))
	heard(t, c, id)
	fail.Store(true)
	_ = l.Close()
	require.Eventually(t, func() bool { return failed.Load() > 4 }, 20*time.Second, 10*time.Millisecond)
	require.Empty(t, c.Health())
	require.Equal(t, 1, log.count("no netlink"))
	fail.Store(false)
	becomes(t, c, id, cluster.Dead)
}

func TestListens(t *testing.T) {
	t.Parallel()
	at := func(list ...string) map[netip.AddrPort]bool {
		out := map[netip.AddrPort]bool{}
		for _, a := range list {
			out[netip.MustParseAddrPort(a)] = true
		}
		return out
	}
	four, six := netip.MustParseAddrPort("192.168.70.1:80"), netip.MustParseAddrPort("[fd00::1]:80")
	for _, list := range []string{"192.168.70.1:80", "0.0.0.0:80", "[::]:80"} {
		require.True(t, listens(at(list), four), list)
	}
	for _, list := range []string{"192.168.70.2:80", "192.168.70.1:81", "0.0.0.0:81"} {
		require.False(t, listens(at(list), four), list)
	}
	require.True(t, listens(at("[::]:80"), six))
	require.False(t, listens(at("0.0.0.0:80"), six))
}

// Several ports are one instance: it is there while one of them is.
func TestOneOfSeveralListeners(t *testing.T) {
	t.Parallel()
	one, a := server(t, host+":0")
	two, b := server(t, host+":0")
	s := &subject{task: task{own: true, listeners: []netip.AddrPort{a, b}}}
	look := func() (try, ask bool) {
		list, err := sample.Listening()
		require.NoError(t, err)
		found := map[netip.AddrPort]bool{}
		for _, a := range list {
			found[a] = true
		}
		return s.look(found)
	}
	closed := func(l net.Listener) {
		require.NoError(t, l.Close())
		require.Eventually(t, func() bool { // once no child is left that another test was starting and that has it, too
			list, err := sample.Listening()
			return err == nil && !slices.Contains(list, netip.MustParseAddrPort(l.Addr().String()))
		}, 20*time.Second, time.Millisecond)
	}
	closed(one)
	for range 5 {
		try, _ := look()
		require.False(t, try)
	}
	closed(two)
	try, _ := look()
	require.False(t, try, "one look is not enough")
	try, _ = look()
	require.True(t, try)
}

// A node that comes back is judged before anybody is sent to it: also instances whose socket was never seen there.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]*cluster.Check{
		"no check": nil,
		"seldom":   {TCP: &cluster.TCPCheck{}, Interval: cluster.MaxInterval},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, elsewhere := server(t, host+":0") // as in a namespace of its own: it answers, and its socket is not seen
			ended := netip.MustParseAddrPort(host + ":4")
			c := brisk(t, Options{Listening: func() ([]netip.AddrPort, error) { return nil, nil }}, world(service("a", check, elsewhere, ended)).Snapshot(1))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c.Judge(ctx)
			require.NoError(t, ctx.Err())
			health := c.Health()["a"]
			require.Equal(t, cluster.Dead, health[ended.String()].Verdict)
			require.Len(t, health, 1, "the other one answers")
		})
	}
}

// Nobody waits for what cannot be known.
func TestJudgeOfWhatCannotBeKnown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unseen := brisk(t, Options{}, world(service("a", nil, netip.MustParseAddrPort(host+":5"))).Snapshot(1))
	unseen.Judge(t.Context())
	require.Empty(t, unseen.Health())
	silent := brisk(t, Options{Listening: func() ([]netip.AddrPort, error) { return nil, errors.New("no") }}, world(service("a", nil, netip.MustParseAddrPort(host+":6"))).Snapshot(1))
	silent.Judge(ctx)
	require.Empty(t, silent.Health())
}
