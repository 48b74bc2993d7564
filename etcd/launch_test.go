package etcd

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// observed is the newest of what a follower tells.
type observed[T any] struct {
	t      *testing.T
	mu     sync.Mutex
	newest T
	told   int
}

func (o *observed[T]) see(v T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newest, o.told = v, o.told+1
}

func (o *observed[T]) until(what string, fits func(T) bool) T {
	o.t.Helper()
	require.Eventually(o.t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.told > 0 && fits(o.newest)
	}, soon, 5*time.Millisecond, what)
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

func watchOperations(t *testing.T, s *Store) *observed[*cluster.Operations] {
	t.Helper()
	o := &observed[*cluster.Operations]{t: t}
	during(t, func(ctx context.Context) error { return s.WatchOperations(ctx, o.see) })
	return o
}

// during runs something until the test ends, which must end well.
func during(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

func assignment(service string, port uint16) cluster.Assignment {
	return cluster.Assignment{
		Service: service, Run: cluster.Run{Command: []string{"/bin/a"}}, Address: netip.MustParseAddr("192.168.10.1"), Ports: map[string]uint16{"": port},
		Wanted: cluster.WantServing, Version: "v1", Since: time.Unix(1, 0).UTC(),
	}
}

func TestAssignmentsAreMadeAndTold(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	leading, operator, n1 := as("weir-controlcenter"), as("weir-operator"), as("weir-node-n1")
	publish(t, operator, svc("a", 1))
	reigns, _ := stand(t, leading, "cc1", time.Minute)
	l := next(t, "cc1", reigns)
	o := watchOperations(t, leading)
	mine := &observed[map[string]cluster.Assignment]{t: t}
	during(t, func(ctx context.Context) error {
		return n1.WatchAssigned(ctx, "n1", func(a map[string]cluster.Assignment, _ []cluster.Problem) { mine.see(a) })
	})

	_, err := l.Write(t.Context(),
		cluster.Assign{Node: "n1", ID: "a-1", Assignment: assignment("a", 20000), Claims: []uint16{20000}},
		cluster.Assign{Node: "n2", ID: "a-2", Assignment: assignment("a", 20000), Claims: []uint16{20000}})
	require.NoError(t, err)
	got := mine.until("its own assignment", func(m map[string]cluster.Assignment) bool { return len(m) == 1 })
	require.Equal(t, map[string]cluster.Assignment{"a-1": assignment("a", 20000)}, got, "and nobody else's")
	told := o.until("both", func(o *cluster.Operations) bool { return len(o.Assigned) == 2 })
	require.Equal(t, cluster.PortClaim{Service: "a", ID: "a-1", Since: time.Unix(1, 0).UTC()}, told.Ports["n1"][20000])

	// The same again is nothing new; another that wants the port gets nothing of what it asked for.
	_, err = l.Write(t.Context(), cluster.Assign{Node: "n1", ID: "a-3", Assignment: assignment("a", 20000), Claims: []uint16{20001, 20000}})
	require.NoError(t, err)
	require.NotContains(t, keys(t, as("root")), "ops/assign/n1/a-3")
	require.NotContains(t, keys(t, as("root")), "ops/ports/n1/20001")

	launched := cluster.Launched{Service: "a", Phase: cluster.PhaseReady, Version: "v1", PID: 7, Since: time.Unix(2, 0).UTC()}
	require.NoError(t, n1.Launched(t.Context(), "n1", "a-1", &launched))
	instance, err := cluster.ParseInstance("192.168.10.1:20000")
	require.NoError(t, err)
	require.NoError(t, n1.Register(t.Context(), "n1", "a", "a-1", &instance))
	require.ErrorIs(t, n1.Launched(t.Context(), "n2", "a-2", &launched), cluster.ErrDenied)
	require.ErrorIs(t, n1.Register(t.Context(), "n2", "a", "a-2", &instance), cluster.ErrDenied)
	require.Error(t, n1.Launched(t.Context(), "n1", "../x", &launched))
	told = o.until("how it is", func(o *cluster.Operations) bool { return o.Launched["n1"]["a-1"].PID == 7 })
	require.Equal(t, launched, told.Launched["n1"]["a-1"])
	starting := cluster.Launched{Service: "a", Phase: cluster.PhaseStarting, Since: time.Unix(2, 0).UTC()}
	require.NoError(t, n1.Introduce(t.Context(), "n1", "a-1", starting), "it is left as it is")
	require.NoError(t, n1.Introduce(t.Context(), "n1", "a-4", starting))
	require.ErrorIs(t, n1.Introduce(t.Context(), "n2", "a-4", starting), cluster.ErrDenied)
	require.Error(t, n1.Introduce(t.Context(), "n1", "../x", starting))
	told = o.until("the new one", func(o *cluster.Operations) bool { return len(o.Launched["n1"]) == 2 })
	require.Equal(t, map[string]cluster.Launched{"a-1": launched, "a-4": starting}, told.Launched["n1"])
	require.NoError(t, n1.Launched(t.Context(), "n1", "a-4", nil))

	_, err = l.Write(t.Context(), cluster.Unassign{Node: "n1", ID: "a-1", Service: "a", Ports: []uint16{20000, 20002}, Busy: 20002, Since: time.Unix(3, 0).UTC(), Revision: 9})
	require.NoError(t, err)
	mine.until("taken back", func(m map[string]cluster.Assignment) bool { return len(m) == 0 })
	later := o.until("freed", func(o *cluster.Operations) bool { return o.Ports["n1"][20000].Revision == 9 })
	require.Empty(t, later.Ports["n1"][20000].ID)
	require.False(t, later.Ports["n1"][20000].Busy)
	require.True(t, later.Ports["n1"][20002].Busy, "this one is somebody else's")
	require.Equal(t, "a-1", told.Ports["n1"][20000].ID, "what was told stays as it was")
	_, err = l.Write(t.Context(), cluster.FreePort{Node: "n1", Port: 20000}, cluster.FreePort{Node: "n1", Port: 20002})
	require.NoError(t, err)
	require.NoError(t, n1.Launched(t.Context(), "n1", "a-1", nil))
	o.until("forgotten", func(o *cluster.Operations) bool { return len(o.Launched) == 0 && len(o.Ports) == 1 })
}

func TestLaunchersStayWhileTheyRun(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	o := watchOperations(t, as("weir-controlcenter"))
	l := cluster.Launcher{Drivers: []string{"process"}, Capacity: cluster.Resources{CPU: 2, Memory: 1 << 30}, Ports: cluster.PortRange{From: 20000, To: 20099}, Address: netip.MustParseAddr("192.168.10.1")}
	stop := during(t, func(ctx context.Context) error { return as("weir-node-n1").Launching(ctx, "n1", l) })
	told := o.until("there", func(o *cluster.Operations) bool { return len(o.Launchers) == 1 })
	require.Equal(t, l, told.Launchers["n1"])
	stop()
	o.until("gone", func(o *cluster.Operations) bool { return len(o.Launchers) == 0 })
	require.ErrorContains(t, as("root").Launching(t.Context(), "../n1", l), "want ops/launchers/NODE")
	require.ErrorContains(t, as("root").WatchAssigned(t.Context(), "../n1", nil), "want ops/launchers/NODE")
}

// TestScaledIsWrittenByWhoKnewItLast: the leader never overwrites what an operator said meanwhile.
func TestScaledIsWrittenByWhoKnewItLast(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	operator := as("weir-operator")
	publish(t, operator, svc("a", 1))
	o := watchOperations(t, as("weir-controlcenter"))
	reigns, _ := stand(t, as("weir-controlcenter"), "cc1", time.Minute)
	l := next(t, "cc1", reigns)
	scale := func(n int, known int64) {
		t.Helper()
		_, err := l.Write(t.Context(), cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: n, By: "busy", ModRevision: known}})
		require.NoError(t, err)
	}
	replicas := func(n int) int64 {
		t.Helper()
		return o.until("replicas", func(o *cluster.Operations) bool { return o.Scaled["a"].Replicas == n }).Scaled["a"].ModRevision
	}
	scale(2, 0)
	known := replicas(2)
	_, err := operator.Commit(t.Context(), cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 7, Pinned: true}})
	require.NoError(t, err)
	scale(3, known)
	known = replicas(7)
	scale(4, known)
	replicas(4)
	_, err = operator.Commit(t.Context(), cluster.SetScaled{Service: "b", Scaled: &cluster.Scaled{Replicas: 7}})
	require.ErrorIs(t, err, cluster.ErrConflict)
	_, err = l.Write(t.Context(), cluster.SetScaled{Service: "b", Scaled: &cluster.Scaled{Replicas: 7}})
	require.NoError(t, err)
	moved := cluster.Moved{ID: "a-1", From: "n1", To: "n2", Reason: "n1 is busy", Since: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)}
	_, err = l.Write(t.Context(), cluster.SetMoved{Service: "a", Moved: &moved}, cluster.SetMoved{Service: "b", Moved: &moved})
	require.NoError(t, err)
	require.Equal(t, moved, o.until("moved", func(o *cluster.Operations) bool { return len(o.Moved) == 1 }).Moved["a"])
	crashes := cluster.Crashes{Since: moved.Since, Span: cluster.Duration(time.Minute), Told: 1, Known: map[string]cluster.ToldCrash{"a-1": {At: moved.Since, Count: 2}}}
	_, err = l.Write(t.Context(), cluster.SetCrashes{Service: "a", Crashes: &crashes}, cluster.SetCrashes{Service: "b", Crashes: &crashes})
	require.NoError(t, err)
	require.Equal(t, crashes, o.until("crashed", func(o *cluster.Operations) bool { return len(o.Crashes) == 2 }).Crashes["b"], "instances of a service that is gone may be there")
	_, err = l.Write(t.Context(), cluster.SetCrashes{Service: "b"})
	require.NoError(t, err)
	o.until("forgotten", func(o *cluster.Operations) bool { return len(o.Crashes) == 1 })
	called := &cluster.Called{Instances: map[string]cluster.Call{"x": {Serving: true, Reason: "2 are wanted"}}}
	_, err = l.Write(t.Context(), cluster.SetCalled{Service: "a", Called: called}, cluster.SetCalled{Service: "b", Called: called})
	require.NoError(t, err)
	snapshot, err := operator.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get("a")
	require.Equal(t, called, in.Called)
	for _, key := range []string{"ops/scale/b", "net/called/b", "ops/moved/b"} {
		require.NotContains(t, keys(t, as("root")), key, "of a service that is gone nothing is written")
	}

	require.NoError(t, as("weir-node-n1").Wake(t.Context(), "n1", "a"))
	require.Equal(t, "n1", o.until("woken", func(o *cluster.Operations) bool { return len(o.Wakes) == 1 }).Wakes["a"].Node)
	_, err = l.Write(t.Context(), cluster.ClearWake{Service: "a"})
	require.NoError(t, err)
	o.until("asleep", func(o *cluster.Operations) bool { return len(o.Wakes) == 0 })
	require.NoError(t, as("weir-node-n1").Wake(t.Context(), "n1", "a"))
	_, err = operator.Commit(t.Context(), cluster.Withdraw{Service: stored(t, operator, "a")})
	require.NoError(t, err)
	require.NotContains(t, keys(t, as("root")), "net/called/a")
	o.until("withdrawn", func(o *cluster.Operations) bool { return len(o.Wakes)+len(o.Scaled)+len(o.Moved) == 0 })
}

func TestOperationsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	o := watchOperations(t, s)
	put := func(key, value string) {
		t.Helper()
		_, err := raw(t, s).Put(t.Context(), s.prefix+key, value)
		require.NoError(t, err)
	}
	put("ops/status/n1/a-1", `{"service":"a","phase":"ready","newer":1}`)
	o.until("a newer one", func(o *cluster.Operations) bool { return o.Launched["n1"]["a-1"].Phase == cluster.PhaseReady })
	put("ops/status/n1/a-1", "{")
	told := o.until("broken", func(o *cluster.Operations) bool { return len(o.Problems) == 1 })
	require.Contains(t, told.Problems[0].Error(), "key ops/status/n1/a-1")
	require.Empty(t, told.Launched)
	put("ops/status/n1/a-1", `{"service":"a"}`)
	o.until("mended", func(o *cluster.Operations) bool { return len(o.Problems) == 0 && len(o.Launched) == 1 })
	put("ops/ports/n1/99", "[]")
	o.until("broken", func(o *cluster.Operations) bool { return len(o.Problems) == 1 })
	_, err := raw(t, s).Delete(t.Context(), s.prefix+"ops/ports/n1/99")
	require.NoError(t, err)
	o.until("gone", func(o *cluster.Operations) bool { return len(o.Problems) == 0 })

	// A launcher keeps what it was told last of an instance whose assignment cannot be read.
	put("ops/assign/n1/a-1", `{"service":"a","wanted":"serving"}`)
	type assigned struct {
		now      map[string]cluster.Assignment
		problems []cluster.Problem
	}
	mine := &observed[assigned]{t: t}
	during(t, func(ctx context.Context) error {
		return s.WatchAssigned(ctx, "n1", func(a map[string]cluster.Assignment, p []cluster.Problem) { mine.see(assigned{a, p}) })
	})
	mine.until("there", func(a assigned) bool { return len(a.now) == 1 })
	put("ops/assign/n1/a-1", "nonsense")
	mine.until("kept", func(a assigned) bool { return len(a.now) == 1 && len(a.problems) == 1 })
	_, err = raw(t, s).Delete(t.Context(), s.prefix+"ops/assign/n1/a-1")
	require.NoError(t, err)
	mine.until("gone", func(a assigned) bool { return len(a.now) == 0 && len(a.problems) == 0 })
}

// TestALeaderForgetsANode that is gone by its doing, and none whose agent is in touch.
func TestALeaderForgetsANode(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	reigns, _ := stand(t, s, "cc1", time.Minute)
	l := next(t, "cc1", reigns)
	node := &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.9")}}
	require.NoError(t, s.Join(t.Context(), "n9", node))
	require.NoError(t, s.Register(t.Context(), "n9", "a", "x", &cluster.Instance{Addr: node.Addresses[0], Port: 80, Weight: 1}))
	o := watchOperations(t, s)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Alive(ctx, "n9") }()
	o.until("alive", func(o *cluster.Operations) bool { return o.Alive["n9"] })
	_, err := l.Write(t.Context(), cluster.ForgetNode{Node: "n9"})
	require.NoError(t, err)
	require.Contains(t, keys(t, s), "net/nodes/n9")
	leave()
	require.NoError(t, <-ended)
	o.until("gone", func(o *cluster.Operations) bool { return !o.Alive["n9"] })
	_, err = l.Write(t.Context(), cluster.ForgetNode{Node: "n9"})
	require.NoError(t, err)
	for _, key := range keys(t, s) {
		require.NotContains(t, key, "n9")
	}
	_, err = l.Write(t.Context(), cluster.ForgetNode{Node: "../n9"})
	require.ErrorContains(t, err, "want net/nodes/NODE")
}

// TestWhatIsToldOfAForgottenNodeGoes with the assignment, unless a launcher is there again.
func TestWhatIsToldOfAForgottenNodeGoes(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	reigns, _ := stand(t, s, "cc1", time.Minute)
	l := next(t, "cc1", reigns)
	for _, id := range []string{"a-1", "a-2"} {
		require.NoError(t, s.Launched(t.Context(), "n9", id, &cluster.Launched{Service: "a", Phase: cluster.PhaseReady}))
	}
	_, err := l.Write(t.Context(), cluster.Unassign{Node: "n9", ID: "a-1", Service: "a"})
	require.NoError(t, err)
	require.Contains(t, keys(t, s), "ops/status/n9/a-1")
	_, err = l.Write(t.Context(), cluster.Unassign{Node: "n9", ID: "a-1", Service: "a", Forgotten: true})
	require.NoError(t, err)
	require.NotContains(t, keys(t, s), "ops/status/n9/a-1")
	require.Contains(t, keys(t, s), "ops/status/n9/a-2")
	_, err = raw(t, s).Put(t.Context(), s.prefix+"ops/launchers/n9", "{}")
	require.NoError(t, err)
	_, err = l.Write(t.Context(), cluster.Unassign{Node: "n9", ID: "a-2", Service: "a", Forgotten: true})
	require.NoError(t, err)
	require.Contains(t, keys(t, s), "ops/status/n9/a-2")
}
