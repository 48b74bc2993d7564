package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// vandal removes everything and has the kernel tell of it.
func (n *node) vandal(who string) {
	n.t.Helper()
	require.NoError(n.t, n.kernel.Clean(context.Background()))
	n.kernel.meet()
	n.kernel.changed(rules.Foreign{What: "table ip weir: table deleted", Who: who})
}

// valueOf a counter or gauge.
func valueOf(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families[0].Metric[0].GetCounter().GetValue() + families[0].Metric[0].GetGauge().GetValue()
}

// TestRepairIsTold in etcd, on the page and in the metric, with what, who and for how long.
func TestRepairIsTold(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		start := time.Now()
		n.deliver(newHistory().service(1, 3).snapshot())
		n.after(time.Minute)
		require.Empty(t, n.store.repaired(), "the start is no repair")
		n.kernel.slow = 30 * time.Millisecond
		n.vandal("nft (pid 7)")
		mended := time.Now().Add(30 * time.Millisecond).UTC()
		n.after(3 * time.Second) // a regular report may just have been made, and there are 2 s between two of them
		want := cluster.Repair{
			At: mended, Cause: "notice", What: "table ip weir: table deleted", Who: "nft (pid 7)", WrongMS: 30, Writes: 6,
		}
		told := n.store.repaired()
		require.Len(t, told, 1)
		require.Equal(t, cluster.Repairs{Since: start.UTC(), Count: 1, Newest: []cluster.Repair{want}}, told[0])
		var page strings.Builder
		require.NoError(t, n.WriteRepairs(&page))
		var shown cluster.Repairs
		require.NoError(t, json.Unmarshal([]byte(page.String()), &shown))
		require.Equal(t, told[0], shown)
		require.Equal(t, 1.0, valueOf(t, n.c.Metrics.repairs.WithLabelValues("notice")))
		require.Equal(t, 0.0, valueOf(t, n.c.Metrics.repairs.WithLabelValues("check")))

		n.kernel.changed(rules.Foreign{What: "notices were lost", Lost: true})
		n.kernel.changed(rules.Foreign{What: "table ip weir: rule made", Who: "nft (pid 8)"})
		n.after(time.Minute)
		require.Equal(t, 1, n.Repairs().Count, "what is sound is not repaired")
		require.NoError(t, n.kernel.Clean(t.Context()))
		n.kernel.changed(rules.Foreign{What: "notices were lost", Lost: true})
		n.after(time.Second)
		require.Equal(t, 1.0, valueOf(t, n.c.Metrics.repairs.WithLabelValues("lost")))
		require.Equal(t, "repair frame: missing and 2 more", n.Repairs().Newest[0].What, "nobody knows what was done, but what was found")
		require.Equal(t, want, n.Repairs().Newest[1])
	})
}

// TestRepairAndNews come in one pass: only what somebody else did counts as repaired.
func TestRepairAndNews(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 3).snapshot())
		n.kernel.slow = time.Second
		n.deliver(h.service(2, 1).snapshot())
		n.kernel.changed(rules.Foreign{What: "table ip weir: rule made", Who: "nft (pid 7)"})
		n.deliver(h.service(3, 40).snapshot())
		n.after(10 * time.Second)
		require.Zero(t, n.Repairs().Count)
		n.vandal("nft (pid 8)")
		n.deliver(h.service(4, 40).snapshot())
		n.after(10 * time.Second)
		require.Equal(t, 1, n.Repairs().Count)
		require.Less(t, n.Repairs().Newest[0].Writes, 60, "without service 4")
		require.Len(t, n.holds(), 4)
	})
}

// TestRepairAfterFailure keeps what was noticed until it is mended.
func TestRepairAfterFailure(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.deliver(newHistory().service(1, 3).snapshot())
		n.kernel.fail = func() error { return rules.ErrPermission }
		n.vandal("nft (pid 7)")
		n.after(time.Second)
		require.Zero(t, n.Repairs().Count)
		n.kernel.fail = func() error { return nil }
		n.after(10 * time.Second)
		require.Equal(t, 1, n.Repairs().Count)
		require.Equal(t, "nft (pid 7)", n.Repairs().Newest[0].Who)
		require.Greater(t, n.Repairs().Newest[0].WrongMS, 900.0)
	})
}

// TestRepairFoundAtAWrite has a write meet something that nobody told of.
func TestRepairFoundAtAWrite(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 3).snapshot())
		require.NoError(t, n.kernel.Clean(t.Context()))
		n.deliver(h.service(2, 1).snapshot())
		require.Len(t, n.holds(), 2)
		require.Equal(t, 1, n.Repairs().Count)
		require.Equal(t, "write", n.Repairs().Newest[0].Cause)
	})
}

func TestRepairsAreBounded(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.deliver(newHistory().service(1, 1).snapshot())
		for range 30 {
			n.vandal("nft (pid 7)")
			n.after(time.Minute) // no fight
		}
		require.Equal(t, 30, n.Repairs().Count)
		require.Len(t, n.Repairs().Newest, cluster.MaxRepairs)
		require.Len(t, n.store.repaired(), 30)
		require.Equal(t, 30, n.log.count("are repaired"))
	})
}

// TestRepairsAreToldLater when etcd is away, and never where the role lacks the key.
func TestRepairsAreToldLater(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.deliver(newHistory().service(1, 1).snapshot())
		n.store.set(errAway, nil)
		n.vandal("a")
		n.after(time.Minute)
		require.Empty(t, n.store.repaired())
		n.store.set(nil, nil)
		n.after(time.Minute)
		require.Len(t, n.store.repaired(), 1)

		n.store.set(nil, cluster.ErrDenied)
		for range 3 {
			n.vandal("b")
			n.after(time.Minute)
		}
		require.Equal(t, 1, n.log.count("repairs are told in the log only"))
		n.store.set(nil, nil)
		n.vandal("c")
		n.after(time.Minute)
		told := n.store.repaired()
		require.Len(t, told, 1)
		require.Equal(t, 5, told[0].Count)
	})
}

// TestFight has another program remove the rules every 10 ms for a minute.
func TestFight(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.deliver(newHistory().service(1, 1).snapshot())
		reads := n.kernel.reads
		for i := range 6000 {
			n.vandal("nft (pid 7)")
			n.after(10 * time.Millisecond)
			if i == freeRepairs-1 {
				require.Equal(t, freeRepairs, n.Repairs().Count, "the first ones are repaired at once")
				require.Empty(t, n.Status().Problems)
			}
		}
		n.after(2 * time.Second)
		require.Len(t, n.holds(), 1, "it is repaired all the same")
		require.InDelta(t, 50+7+58, n.Repairs().Count, 6, "once a second")
		require.InDelta(t, n.Repairs().Count, n.kernel.reads-reads, 2)
		require.Len(t, n.Status().Problems, 1)
		require.Contains(t, n.Status().Problems[0].What, "again and again; they are repaired, but at most once a second: nft (pid 7): table ip weir: table deleted")
		require.Equal(t, 1, n.log.count("msg=problem "))
		require.LessOrEqual(t, n.log.count("are repaired\""), freeRepairs, "the Problem tells of the rest")
		require.LessOrEqual(t, len(n.store.repaired()), 40, "etcd is spared")
		require.Equal(t, 1.0, valueOf(t, n.c.Metrics.fight))

		n.after(calm)
		require.Empty(t, n.Status().Problems, "it ends by itself")
		require.Equal(t, 1, n.log.count("problem is gone"))
		require.Equal(t, 0.0, valueOf(t, n.c.Metrics.fight))
		n.vandal("nft (pid 8)")
		n.after(moment)
		require.Len(t, n.holds(), 1, "at once again")
	})
}

// TestFightDoesNotDelayNews has a publish in the middle of it.
func TestFightDoesNotDelayNews(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		for range 500 {
			n.vandal("nft (pid 7)")
			n.after(10 * time.Millisecond)
		}
		n.vandal("nft (pid 7)")
		n.deliver(h.service(2, 1).snapshot())
		require.Len(t, n.holds(), 2)
	})
}

// TestCostlyFight rests longer where a repair takes longer: a tenth of a core is the most.
func TestCostlyFight(t *testing.T) {
	var f fight
	now := time.Unix(1000, 0)
	for range 20 {
		f.drift(now)
		f.took = 700 * time.Millisecond
	}
	require.Equal(t, now.Add(6300*time.Millisecond), f.next())
	require.True(t, f.on(now.Add(calm)))
	require.False(t, f.on(f.over()))
	f.drift(now.Add(calm + 1))
	require.True(t, f.next().IsZero(), "a new row")
}
