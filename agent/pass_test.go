package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

func TestOrder(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		require.Equal(t, []string{"rules", "routes come"}, n.kernel.since(), "a route without rules leads nowhere")
		n.deliver(h.service(1, 2).snapshot())
		require.Equal(t, []string{"rules"}, n.kernel.since())
		n.deliver(h.service(2, 1).snapshot())
		require.Equal(t, []string{"rules", "routes come"}, n.kernel.since())
		n.deliver(h.service(1, -1).snapshot())
		require.Equal(t, []string{"routes go", "rules"}, n.kernel.since())
		require.Equal(t, map[string]int{"10.10.1.2:80": 1}, n.holds())
		require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.10.1.2/32")}, n.kernel.routed)
	})
}

func TestCoalescing(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		n.kernel.slow, n.kernel.applies = time.Second, 0
		var last *cluster.Snapshot
		for i := range 100 { // during 2 s
			last = h.service(1, 1+i).snapshot()
			n.store.snapshots <- last
			n.after(20 * time.Millisecond)
		}
		n.after(5 * time.Second)
		// The first at once, one with what came during that, one with what came during that.
		require.LessOrEqual(t, n.kernel.applies, 4)
		require.Same(t, last, n.Status().Snapshot)
		require.Equal(t, map[string]int{"10.10.1.1:80": 100}, n.holds())
	})
}

func TestShadow(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		n.kernel.reads = 0
		wrong := 1
		n.kernel.fail = func() error {
			if wrong--; wrong >= 0 {
				return fmt.Errorf("element is gone: %w", rules.ErrShadow)
			}
			return nil
		}
		n.deliver(h.service(1, 2).snapshot())
		require.Equal(t, 1, n.kernel.failing)
		require.Equal(t, 1, n.kernel.reads, "it looks again")
		require.Equal(t, map[string]int{"10.10.1.1:80": 2}, n.holds())
		require.NoError(t, n.Ready())
		require.NotContains(t, n.log.String(), "level=ERROR", "that was no failure")

		wrong = 2 // also after looking again
		n.deliver(h.service(1, 3).snapshot())
		require.ErrorIs(t, n.Ready(), rules.ErrShadow)
		n.after(200 * time.Millisecond)
		require.NoError(t, n.Ready())
		require.Equal(t, map[string]int{"10.10.1.1:80": 3}, n.holds())
	})
}

// TestShaken lets one transaction in three fail by chance.
func TestShaken(t *testing.T) {
	inBubble(t, func(n *node, _ *Config) { n.kernel.FailPct = 33 }, func(n *node) {
		h := newHistory()
		for i := range 200 {
			n.deliver(h.service(1+i%5, i%9-1).snapshot())
		}
		n.after(time.Minute)
		require.NoError(t, n.Ready())
		require.Empty(t, n.kernel.Lost, "packets that would have left untranslated")
		require.Empty(t, rules.Diff(n.have, rules.Build(nil, n.Status().Snapshot, rules.Options{})).String())
	})
}

func TestQuarantine(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		bad := netip.MustParseAddr("10.10.1.2")
		n.kernel.Reject = func(c rules.Change) bool { return c.Frontend.VIP == bad }
		h := newHistory()
		n.deliver(h.service(1, 1).service(2, 2).service(3, 3).snapshot())
		n.after(time.Second)
		require.Equal(t, map[string]int{"10.10.1.1:80": 1, "10.10.1.3:80": 3}, n.holds(), "the others are served")
		require.NoError(t, n.Ready())
		reports := n.store.told()
		require.NotEmpty(t, reports)
		problems := reports[len(reports)-1].Problems
		require.Len(t, problems, 1)
		require.Equal(t, "service s2", problems[0].Object)

		n.kernel.Reject = nil
		n.deliver(h.service(2, 4).snapshot())
		n.after(time.Second)
		require.Equal(t, map[string]int{"10.10.1.1:80": 1, "10.10.1.2:80": 4, "10.10.1.3:80": 3}, n.holds())
		reports = n.store.told()
		require.NotEmpty(t, reports)
		require.Empty(t, reports[len(reports)-1].Problems)
	})
}

func TestFailure(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.kernel.fail = func() error { return rules.ErrPermission }
		start := time.Now()
		n.deliver(newHistory().service(1, 1).snapshot())
		require.ErrorIs(t, n.Ready(), rules.ErrPermission)
		require.ErrorContains(t, n.Ready(), "rules could not be written")
		require.NoError(t, n.Live(), "a restart would not help")
		require.Empty(t, n.kernel.routed, "no route without rules")
		n.after(time.Minute)
		require.Less(t, n.kernel.failing, 12, "it waits longer each time")
		n.kernel.fail = func() error { return nil }
		n.after(31 * time.Second) // the longest pause
		require.NoError(t, n.Ready())
		require.Equal(t, map[string]int{"10.10.1.1:80": 1}, n.holds())
		require.Less(t, time.Since(start), 2*time.Minute)
	})
}

func TestRouteFailure(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.kernel.noRoute = errors.New("network is down")
		n.deliver(newHistory().service(1, 1).snapshot())
		require.Equal(t, map[string]int{"10.10.1.1:80": 1}, n.holds(), "routed clients are served all the same")
		require.ErrorContains(t, n.Ready(), "network is down")
		require.Equal(t, "routes", n.Status().Problems[0].Field)
		n.kernel.noRoute = nil
		n.after(time.Second)
		require.NoError(t, n.Ready())
		require.Empty(t, n.Status().Problems)
	})
}

func TestRepair(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.deliver(newHistory().service(1, 3).snapshot())
		require.NoError(t, n.kernel.Clean(t.Context()))
		n.kernel.meet()
		n.kernel.changed(rules.Foreign{What: "table ip weir: table deleted", Who: "nft (pid 7)"})
		n.after(moment)
		require.Equal(t, map[string]int{"10.10.1.1:80": 3}, n.holds())
		require.Equal(t, 1, n.log.count(`who="nft (pid 7)"`))

		require.NoError(t, n.kernel.Clean(t.Context())) // nobody tells
		n.after(5 * time.Minute)
		require.Equal(t, map[string]int{"10.10.1.1:80": 3}, n.holds(), "the regular check finds it")
		require.Equal(t, 1, n.log.count("cause=check what=\"repair frame: missing and 2 more\""))
		reads := n.kernel.reads
		n.after(15 * time.Minute)
		require.Equal(t, reads+3, n.kernel.reads)
		require.Equal(t, 2, n.log.count("repaired"), "what is sound is not repaired")
	})
}

// TestHang has the kernel not return from a write.
func TestHang(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.kernel.slow = 2 * time.Minute
		n.deliver(newHistory().service(1, 1).snapshot())
		n.after(9 * time.Second)
		require.ErrorContains(t, n.Ready(), "no snapshot has been applied yet")
		n.after(2 * time.Second)
		require.ErrorContains(t, n.Ready(), "writing rules has been under way for 11s")
		n.after(13 * time.Second)
		require.NoError(t, n.Live())
		n.after(2 * time.Second)
		require.ErrorContains(t, n.Live(), "under way for")
		n.after(2 * time.Minute)
		require.NoError(t, n.Live())
		require.NoError(t, n.Ready(), "it came to an end by itself")
	})
}

// TestDeadline has a driver that can be interrupted, as one that runs a program can.
func TestDeadline(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		n.kernel.hang = true
		n.deliver(h.service(2, 1).snapshot())
		n.after(12 * time.Second)
		require.ErrorContains(t, n.Ready(), "writing rules took longer than 10s")
		n.kernel.hang = false
		n.after(time.Minute)
		require.NoError(t, n.Ready())
		require.Len(t, n.holds(), 2)
	})
}

// TestEmptyStore is an etcd that was lost: nothing is in it, and nobody ever published to it.
func TestEmptyStore(t *testing.T) {
	inBubble(t, func(n *node, _ *Config) { n.kernel.adopt(t, newHistory().service(1, 2).snapshot()) }, func(n *node) {
		n.deliver(cluster.NewDraft().Snapshot(5))
		require.Equal(t, map[string]int{"10.10.1.1:80": 2}, n.holds())
		require.ErrorContains(t, n.Ready(), "no snapshot has been applied yet")
		reports := n.store.told()
		require.Len(t, reports, 1)
		require.Contains(t, reports[0].Problems[0].What, "was never published to")
		// The same, seen by an agent that started anew with a file from before the services.
		held := cluster.NewDraft()
		held.Ready(true)
		held.Held(&cluster.Held{Revision: 6, Reason: "wiped"})
		n.deliver(held.Snapshot(6))
		require.Equal(t, map[string]int{"10.10.1.1:80": 2}, n.holds())
		// Somebody published, and withdrew it again: that is meant.
		n.deliver(newHistory().service(1, -1).snapshot())
		require.Empty(t, n.holds())
		require.NoError(t, n.Ready())
	})
}

// adopt puts rules into the kernel that a former agent left behind.
func (k *kernel) adopt(t *testing.T, s *cluster.Snapshot) {
	have, err := k.Fake.Read(t.Context())
	require.NoError(t, err)
	require.NoError(t, k.Fake.Apply(t.Context(), rules.Diff(have, rules.Build(nil, s, rules.Options{}))))
}

func TestAdopt(t *testing.T) {
	inBubble(t, func(n *node, _ *Config) { n.kernel.adopt(t, newHistory().service(1, 2).snapshot()) }, func(n *node) {
		n.deliver(newHistory().service(1, 2).snapshot())
		require.NoError(t, n.Ready())
		require.Zero(t, n.kernel.applies)
	})
}

func TestReports(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		n.after(time.Second)
		require.Len(t, n.store.told(), 1, "the first is told at once")
		n.deliver(h.service(1, 2).snapshot())
		n.after(time.Second)
		require.Empty(t, n.store.told(), "nobody waits for it")

		h.draft.Barrier(h.revision)
		start := time.Now()
		n.deliver(h.service(1, 3).snapshot())
		n.after(time.Second)
		reports := n.store.told()
		require.Len(t, reports, 1)
		require.Less(t, reports[0].at.Sub(start), 50*time.Millisecond, "somebody waits")
		require.Equal(t, h.revision, reports[0].Revision)

		h.draft.Problem("net/x", &cluster.Problem{Object: "key net/x", What: "bad"})
		start = time.Now()
		n.deliver(h.snapshot())
		n.after(time.Second)
		reports = n.store.told()
		require.Len(t, reports, 1)
		require.Less(t, reports[0].at.Sub(start), 50*time.Millisecond, "a new problem")

		n.after(10 * time.Minute)
		reports = n.store.told()
		require.InDelta(t, 20, len(reports), 3, "every 30 s")
		different := map[time.Duration]bool{}
		for i, r := range reports[1:] {
			gap := r.at.Sub(reports[i].at)
			require.InDelta(t, 30, gap.Seconds(), 6.1)
			different[gap] = true
		}
		require.Greater(t, len(different), 10, "with jitter")

		n.store.set(nil, errors.New("denied"))
		h.draft.Barrier(h.revision)
		n.deliver(h.service(1, 4).snapshot())
		n.after(300 * time.Millisecond)
		require.Empty(t, n.store.told())
		n.store.set(nil, nil)
		n.after(time.Second)
		require.NotEmpty(t, n.store.told(), "a report that failed is made up for")

		n.store.set(errAway, nil)
		n.after(5 * time.Minute)
		require.Empty(t, n.store.told(), "there is nobody to tell")
		require.ErrorIs(t, n.Ready(), errAway)
	})
}

func TestReportIsBounded(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		for i := range 1000 {
			h.draft.Problem(fmt.Sprintf("net/%d", i), &cluster.Problem{Object: fmt.Sprintf("key net/%d", i), What: "bad"})
		}
		n.deliver(h.snapshot())
		n.after(time.Second)
		reports := n.store.told()
		require.Len(t, reports, 1)
		require.Len(t, reports[0].Problems, maxProblems)
		require.Equal(t, 1000, reports[0].ProblemCount)
		require.Len(t, n.Status().Problems, 1000)
		require.Equal(t, maxProblems, n.log.count("msg=problem "), "the log is bounded too")
		require.Contains(t, n.log.String(), "problems=980")
	})
}

// TestProblemsAreLogged once when they come and once when they go.
func TestProblemsAreLogged(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		h.draft.Problem("net/x", &cluster.Problem{Object: "key net/x", What: "bad", Fix: "mend it"})
		n.deliver(h.snapshot())
		n.deliver(h.service(1, 1).snapshot())
		require.Equal(t, 1, n.log.count("msg=problem "))
		require.Contains(t, n.log.String(), `object="key net/x" field="" what=bad fix="mend it"`)
		h.draft.Problem("net/x", nil)
		n.deliver(h.service(1, 2).snapshot())
		require.Equal(t, 1, n.log.count(`msg="problem is gone"`))
	})
}

// TestRoutesAreLookedAt again when notices were lost, and with each regular check: a route may go without a notice.
func TestRoutesAreLookedAt(t *testing.T) {
	inBubble(t, func(n *node, _ *Config) { n.kernel.deaf = 2 }, func(n *node) {
		n.deliver(newHistory().service(1, 1).snapshot())
		n.after(5 * time.Second)
		require.Equal(t, 3, n.kernel.watches, "the watch begins anew")
		require.Equal(t, 2, n.kernel.doubts)
		require.Equal(t, 2, n.log.count(`msg="watch routes"`))
		require.NoError(t, n.Ready())
		n.after(time.Hour)
		require.InDelta(t, 2+12, n.kernel.doubts, 1)
	})
}
