package check

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// Without a check, three looks in a row that find unanswered connections make an instance failing, and half a minute without
// makes it well: since nobody is sent there any more, nothing else would.
func TestSignsWithoutACheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which no time passes: what comes soon after another is told late
		c := New(Options{Node: "n1"})
		c.Want(world(service("a", nil, mineAt)).Snapshot(1))
		look := func(n uint64) cluster.Verdict {
			c.Signs(map[netip.AddrPort]uint64{mineAt: n}, nil)
			return verdict(c)
		}
		require.Equal(t, cluster.Suspect, look(1))
		require.Equal(t, "1 new connections were not answered", c.Health()["a"][mine.Instance].Reason)
		require.Equal(t, cluster.Suspect, look(9))
		require.Empty(t, look(0))
		for range 4 { // never three in a row; that it is suspect was told of late
			require.Empty(t, look(1))
			require.Empty(t, look(9))
			require.Empty(t, look(0))
		}
		require.Equal(t, Result{Failed: 50}, c.Results()[mine])
		require.Empty(t, look(1))
		require.Empty(t, look(1))
		require.Equal(t, cluster.Failing, look(7), "not dead")
		require.Equal(t, "7 new connections were not answered", c.Health()["a"][mine.Instance].Reason)
		require.Equal(t, uint32(9), c.Results()[mine].FailedInRow)
		c.Signs(map[netip.AddrPort]uint64{netip.MustParseAddrPort(host + ":81"): 0}, nil)
		for range 5 {
			require.Equal(t, cluster.Failing, look(0))
		}
		require.Empty(t, look(0))
	})
}

// Refused connections count as those without an answer do, but for those of an instance that is known to be dead: its checks are
// refused, too.
func TestSignsOfRefusals(t *testing.T) {
	t.Parallel()
	c := New(Options{Node: "n1"})
	c.Want(world(service("a", nil, mineAt)).Snapshot(1))
	look := func(unanswered, refused uint64) {
		c.Signs(map[netip.AddrPort]uint64{mineAt: unanswered}, map[netip.AddrPort]uint64{mineAt: refused, netip.MustParseAddrPort(host + ":81"): 5})
	}
	look(0, 1)
	look(1, 1)
	require.Equal(t, cluster.Suspect, verdict(c))
	look(0, 2)
	require.Equal(t, cluster.Failing, verdict(c))
	require.Equal(t, "2 new connections were refused", c.Health()["a"][mine.Instance].Reason)
	require.Equal(t, Result{Failed: 5, FailedInRow: 5}, c.Results()[mine])
	require.Equal(t, "3 new connections were refused, 1 not answered", failing(1, 3).Reason)
	c.subjects[mine].kernel.lost = true
	look(0, 9)
	require.Equal(t, uint64(5), c.Results()[mine].Failed)
}

// With a check the check has the last word, and is asked for it at once.
func TestSignsWithACheck(t *testing.T) {
	t.Parallel()
	_, a := server(t, host+":0")
	id := ID{"a", a.String()}
	check := &cluster.Check{TCP: &cluster.TCPCheck{}, Interval: cluster.MaxInterval, Fall: 2}
	c := running(t, Options{}, world(service("a", check, a)).Snapshot(1))
	for range 5 {
		before := c.Results()[id].Connections
		c.Signs(map[netip.AddrPort]uint64{a: 1}, map[netip.AddrPort]uint64{a: 2})
		require.Eventually(t, func() bool { return c.Results()[id].Connections > before }, 20*time.Second, time.Millisecond, "a check came")
		require.Empty(t, c.Health())
	}
	require.Equal(t, uint64(15), c.Results()[id].Failed)

	r := rung{}
	fall := &cluster.Check{Rise: 2, Fall: 3}
	for range 10 {
		r.doubt(fall, failing(1, 0), 0)
	}
	require.Empty(t, r.verdict)
	r.step(fall, Outcome{Kind: Bad}, 0)
	require.Equal(t, cluster.Failing, r.verdict, "the first check that fails beside them decides")
	r = rung{grace: time.Hour}
	r.doubt(fall, failing(1, 0), 0)
	require.Zero(t, r.bad, "it may still start")
}

// Signs of instances that report themselves count, and never decide.
func TestSignsOfOneThatReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, Options{}, world(reporting(time.Hour)).Snapshot(1))
		for range 10 {
			c.Signs(map[netip.AddrPort]uint64{mineAt: 3}, nil)
		}
		require.Empty(t, c.Health())
		require.Equal(t, Result{Failed: 30, FailedInRow: 30}, c.Results()[mine])
		require.NoError(t, c.Tell(mine, Word{State: OK}))
		require.Equal(t, Result{Failed: 30}, c.Results()[mine])
	})
}
