package foreman

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// ward is what is stored of a service's instances on one node, and of what was told of them.
type ward struct {
	t   *testing.T
	now time.Time
	ops *cluster.Operations
}

func newWard(t *testing.T, instances int) *ward {
	w := &ward{t: t, now: noon, ops: &cluster.Operations{
		Assigned: map[string]map[string]cluster.Assignment{"n1": {}}, Launched: map[string]map[string]cluster.Launched{"n1": {}},
		Crashes: map[string]cluster.Crashes{},
	}}
	for i := range instances {
		id := fmt.Sprintf("a-%03d", i)
		w.ops.Assigned["n1"][id] = cluster.Assignment{Service: "a", Wanted: cluster.WantServing}
		w.ops.Launched["n1"][id] = cluster.Launched{Service: "a", Phase: cluster.PhaseReady}
	}
	return w
}

// crash ends an instance.
func (w *ward) crash(id string) {
	l, count := w.ops.Launched["n1"][id], 1
	if l.Crash != nil {
		count = l.Crash.Count + 1
	}
	l.Crash = &cluster.Crash{At: w.now, How: "exit code 3", Output: "out of luck", Pause: cluster.Duration(1500 * time.Millisecond), Count: count}
	w.ops.Launched["n1"][id] = l
}

// tell writes what is to be told now, as etcd would keep it.
func (w *ward) tell() (events []cluster.Event) {
	for _, n := range notices(w.now, w.ops) {
		require.Equal(w.t, "a", n.service)
		if n.crashes == nil {
			delete(w.ops.Crashes, n.service)
			continue
		}
		require.Equal(w.t, cluster.EventCrashed, n.event.What)
		require.Equal(w.t, w.now, n.event.At)
		require.True(w.t, n.event.In.Sound())
		w.ops.Crashes[n.service] = *n.crashes
		events = append(events, n.event)
	}
	return events
}

// pass lets rounds go by, one a second.
func (w *ward) pass(d time.Duration, each func()) (events []cluster.Event) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		if each != nil {
			each()
		}
		events = append(events, w.tell()...)
	}
	return events
}

func TestACrashIsToldOfOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, 2)
	require.Empty(t, w.tell())
	w.crash("a-000")
	events := w.pass(time.Hour, nil)
	require.Len(t, events, 1)
	require.Equal(t, "instance a-000 on node n1: exit code 3; it wrote last: out of luck; started again after 1.5s; 1 end so far", events[0].Reason)
	require.Equal(t, cluster.Figures{"a-000": {"ends": 1, "pause": 1.5}}, events[0].In)

	// What its launcher says of it later, and the next crash of another, are no news of this one.
	l := w.ops.Launched["n1"]["a-000"]
	l.Phase, l.Starts = cluster.PhaseStarting, 2
	w.ops.Launched["n1"]["a-000"] = l
	require.Empty(t, w.tell())
	w.crash("a-001")
	events = w.pass(time.Hour, nil)
	require.Len(t, events, 1)
	require.Contains(t, events[0].Reason, "a-001")

	l.Crash = &cluster.Crash{At: noon.Add(2 * time.Hour), How: "ended by signal: killed", Count: 4} // two were never seen
	w.ops.Launched["n1"]["a-000"] = l
	events = w.tell()
	require.Len(t, events, 1)
	require.Equal(t, "instance a-000 on node n1: ended by signal: killed; started again at once; 4 ends so far", events[0].Reason)
	require.Empty(t, w.tell())

	// The node's clock was set back.
	l.Crash = &cluster.Crash{At: noon.Add(-time.Hour), How: "exit code 1", Count: 5}
	w.ops.Launched["n1"]["a-000"] = l
	require.Len(t, w.tell(), 1)
	require.Empty(t, w.tell())
}

// Fifty instances that crash each second: some are told of at once, of the others one event tells, less and less often.
func TestAFloodOfCrashes(t *testing.T) {
	t.Parallel()
	const instances = 50
	w := newWard(t, instances)
	all := func() {
		for id := range w.ops.Launched["n1"] {
			w.crash(id)
		}
	}
	events := w.pass(time.Hour, all)
	require.LessOrEqual(t, len(events), (mostCrashes+1)*10, "1 + 2 + 4 + 8 + 10 * 4 ... minutes")
	spans := map[int]int{}
	together := 0
	for _, e := range events {
		spans[int(e.At.Sub(noon)/time.Minute)]++
		if strings.Contains(e.Reason, fmt.Sprintf("of %d instances", instances)) {
			together++
			require.Contains(t, e.Reason, "(exit code 3) and 45 more")
			require.Less(t, len(e.Reason), 2000)
		}
	}
	require.Greater(t, together, 4)
	for minute, n := range spans {
		require.LessOrEqual(t, n, mostCrashes+1, "in minute %d", minute)
	}
	ends := 0
	require.Empty(t, w.pass(30*time.Second, nil))
	events = append(events, w.pass(longestSpan, nil)...)
	for _, e := range events {
		for id, figures := range e.In {
			if id == "service" {
				ends += int(figures["ends"])
			} else {
				ends++
			}
		}
	}
	require.GreaterOrEqual(t, ends, instances*3600, "what is not told by itself is counted")
	require.LessOrEqual(t, ends, instances*3600+len(events)*mostCrashes, "and hardly anything twice")
	require.Empty(t, w.pass(time.Hour, nil), "all is told")

	w.crash("a-007")
	require.Len(t, w.tell(), 1, "long after it the next one is told of at once")
	require.Equal(t, cluster.Duration(firstSpan), w.ops.Crashes["a"].Span)
}

// A few more than are told of one by one come together; one alone is told of by itself.
func TestWhatIsLeftIsToldWhenTheSpanEnds(t *testing.T) {
	t.Parallel()
	for _, instances := range []int{mostCrashes, mostCrashes + 1, mostCrashes + 3} {
		w := newWard(t, instances)
		for id := range w.ops.Launched["n1"] {
			w.crash(id)
		}
		w.ops.Launched["n1"]["a-000"].Crash.At = noon.Add(-time.Second)
		events := w.pass(firstSpan, nil)
		require.Len(t, events, mostCrashes)
		require.Contains(t, events[0].Reason, "a-000", "the oldest first")
		events = w.pass(time.Hour, nil)
		switch instances {
		case mostCrashes:
			require.Empty(t, events)
		case mostCrashes + 1:
			require.Contains(t, events[0].Reason, "instance a-005 on node n1: exit code 3; it wrote last")
		default:
			require.Equal(t, "3 more ends of 3 instances since 2026-01-02T12:00:00Z, and started again: "+
				"instance a-005 on node n1 (exit code 3), instance a-006 on node n1 (exit code 3), instance a-007 on node n1 (exit code 3)", events[0].Reason)
		}
		require.LessOrEqual(t, len(events), 1)
	}
}

// A leader whose clock is behind that of the one before does not wait for it.
func TestAnotherLeadersClock(t *testing.T) {
	t.Parallel()
	w := newWard(t, 2*mostCrashes)
	for id := range w.ops.Launched["n1"] {
		w.crash(id)
	}
	require.Len(t, w.pass(30*time.Second, nil), mostCrashes)
	w.now = noon.Add(-24 * time.Hour)
	require.Len(t, w.tell(), 1)
	require.Empty(t, w.pass(time.Hour, nil))
}

func TestOfWhomNothingIsTold(t *testing.T) {
	t.Parallel()
	w := newWard(t, 1)
	w.crash("a-000")
	w.ops.Launched["n1"]["b-1"] = cluster.Launched{Service: "b\x1b", Crash: &cluster.Crash{At: noon, How: "exit code 1", Count: 1}}
	require.Len(t, w.tell(), 1, "not of what nobody assigned, whatever its node says of it")

	w.ops.Assigned["n1"]["b-1"] = cluster.Assignment{Service: "a", Wanted: cluster.WantServing}
	w.ops.Launched["n1"]["b-1"] = cluster.Launched{Service: "b\x1b", Crash: &cluster.Crash{At: noon, How: "\x1b[2J" + strings.Repeat("x", 1<<20), Output: "\n\x00" + strings.Repeat("y", 1<<20), Pause: -1, Count: -7}}
	events := w.tell()
	require.Len(t, events, 1)
	require.Less(t, len(events[0].Reason), 3*longestPhrase)
	require.NotContains(t, events[0].Reason, "\x1b")
	require.Contains(t, events[0].Reason, "1 end so far")
}

// What is remembered goes with the instances.
func TestWhatWasToldIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWard(t, 2)
	w.crash("a-000")
	w.pass(time.Hour, nil)
	w.crash("a-001")
	delete(w.ops.Launched["n1"], "a-000")
	delete(w.ops.Assigned["n1"], "a-000")
	require.Len(t, w.pass(time.Hour, nil), 1)
	require.Len(t, w.ops.Crashes["a"].Known, 1)
	delete(w.ops.Assigned["n1"], "a-001")
	require.Empty(t, w.tell())
	require.Len(t, w.ops.Crashes, 1, "its launcher still tells of it")
	delete(w.ops.Launched["n1"], "a-001")
	require.Empty(t, w.tell())
	require.Empty(t, w.ops.Crashes)
}

func TestAMachineThatVanishes(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.ops.Assigned["n1"]["node-1"] = cluster.Assignment{Kind: cluster.KindNode, For: "a", Wanted: cluster.WantServing}
	w.ops.Launched["n1"]["node-1"] = cluster.Launched{Kind: cluster.KindNode, For: "a", Crash: &cluster.Crash{At: noon, How: "the hook does not have it any more", Count: 1}}
	events := w.tell()
	require.Len(t, events, 1)
	require.Equal(t, "machine node-1, from the hook of node n1: the hook does not have it any more; started again at once; 1 end so far", events[0].Reason)
}
