package lab

import (
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// groupsOf are the control groups of a lab, in all hierarchies.
func groupsOf(t *testing.T, prefix string) (found []string) {
	t.Helper()
	all, err := findHierarchies()
	require.NoError(t, err)
	for _, h := range all {
		in, err := filepath.Glob(filepath.Join(h.mount, prefix+"*"))
		require.NoError(t, err)
		found = append(found, in...)
	}
	return found
}

func TestWorkerServesFreezesAndEnds(t *testing.T) {
	c, err := NewCluster(Test(t), 1, 0)
	require.NoError(t, err)
	node := c.Nodes[0]
	address, health := netip.AddrPortFrom(node.Addr4, 80), netip.AddrPortFrom(node.Addr4, 81)
	w, err := StartWorker(node.Namespace, Work{ID: "a", Address: address, Health: health})
	require.NoError(t, err)
	flood := func(timeout time.Duration) Result {
		r, err := Flood(t.Context(), c.Client.Namespace, Load{Frontend: address, Connections: 3, Workers: 1, Timeout: timeout})
		require.NoError(t, err)
		return r
	}
	require.Equal(t, map[string]int{"a": 3}, flood(patience).ByID, "it may still be starting")
	asked := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.Client.Dial}}
	answer, err := asked.Get("http://" + health.String() + "/")
	require.NoError(t, err)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "ok\n", string(text))

	require.NoError(t, w.Freeze())
	require.Equal(t, map[string]int{"timeout": 3}, flood(100*time.Millisecond).Failures, "the kernel accepts for it, and nobody answers")
	require.NoError(t, w.Thaw())
	require.Equal(t, map[string]int{"a": 3}, flood(patience).ByID)

	require.NoError(t, w.Kill())
	require.Equal(t, map[string]int{"refused": 3}, flood(patience).Failures)
	require.NoError(t, w.Kill(), "a second time")
}

// TestCgroupLimits lets two processes want a whole processor each, in a group that may have a fifth of one.
func TestCgroupLimits(t *testing.T) {
	l := Test(t)
	ns, err := l.Namespace("a")
	require.NoError(t, err)
	group, err := l.Cgroup("fifth", 0.2)
	require.NoError(t, err)
	for range 2 {
		_, err = StartHog(ns, group)
		require.NoError(t, err)
	}
	before, err := group.Used()
	require.NoError(t, err)
	begin := time.Now()
	require.Eventually(t, func() bool {
		after, err := group.Used()
		require.NoError(t, err)
		return after-before >= 200*time.Millisecond
	}, patience, 10*time.Millisecond, "it uses what it may")
	// A period's quota may be left from before, and one may be begun.
	require.Greater(t, time.Since(begin), time.Second-3*quotaPeriod)
	require.NotEmpty(t, groupsOf(t, l.Prefix()))
	require.NoError(t, l.Close())
	require.Empty(t, groupsOf(t, l.Prefix()))

	_, err = l.Cgroup("late", 0)
	require.ErrorIs(t, err, errClosed)
	_, err = l.Cgroup("../x", 0)
	require.ErrorContains(t, err, "want a-z")
}

func TestWorkerRefusesAForeignAddress(t *testing.T) {
	ns, err := Test(t).Namespace("a")
	require.NoError(t, err)
	_, err = StartWorker(ns, Work{Address: netip.MustParseAddrPort("192.0.2.1:80")})
	require.ErrorContains(t, err, "cannot assign requested address")
}

func TestWorkerNeedsAProgramThatBecomesOne(t *testing.T) {
	ns, err := Test(t).Namespace("a")
	require.NoError(t, err)
	prepared.Store(false)
	defer prepared.Store(true)
	_, err = StartHog(ns, nil)
	require.ErrorContains(t, err, "does not begin with lab.BecomeWorker")
}

func TestHierarchies(t *testing.T) {
	require.Equal(t, []hierarchy{
		{mount: "/a/unified", unified: true},
		{mount: "/a/cpu,cpuacct", limits: true},
	}, hierarchies("proc /proc proc rw 0 0\n"+
		"cgroup2 /a/unified cgroup2 rw,nosuid 0 0\n"+
		"cgroup /a/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"+
		"cgroup /a/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"+
		"cgroup /a/memory cgroup rw,memory 0 0\n"+
		"short line\n"))
	require.Equal(t, []hierarchy{{mount: "/cpu", limits: true}, {mount: "/acct"}},
		hierarchies("x /cpu cgroup cpu 0 0\nx /acct cgroup rw,cpuacct 0 0\n"))
}
