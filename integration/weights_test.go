package integration

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// TestWeightsFollowTheLoad lets two instances of unequal quotas serve, to which their file gives equal weights. Then a hog
// shares the quota of the one that can take more, under another leader.
func TestWeightsFollowTheLoad(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	w.StartControlCenters(2)
	group := w.Group("fast", 0.3)
	fast := w.Hire(w.Nodes[0], lab.Work{Each: 2 * time.Millisecond, Group: group})
	slow := w.Hire(w.Nodes[1], lab.Work{Each: 2 * time.Millisecond, Group: w.Group("slow", 0.1)})
	f, client := w.Frontend(cluster.TCP, false), w.Nodes[2]
	s := Workers("weighed", f, nil, fast, slow)
	s.Balance = cluster.BalanceAdaptive
	w.Publish(s)
	require.InDelta(t, 0.5, w.Share(client, f, fast), 0.01)
	w.Press(client, f, 80)
	took := w.Eventually(60*time.Second, "the fast one gets more", func() bool { return w.Share(client, f, fast) > 0.6 })
	t.Logf("three fifths after %s", took)
	first := w.AwaitLeader(20 * time.Second)
	told := w.lastEvent("weighed")
	require.Equal(t, first.Name, told.By)
	require.NotEmpty(t, told.Reason)
	require.Greater(t, told.In[slow.Address]["busy"], told.In[fast.Address]["busy"])
	require.Greater(t, told.Out[fast.Address]["share"], told.Out[slow.Address]["share"])

	// Nobody decides while it is paused, whatever happens, and whoever leads.
	w.Weir("pause")
	w.Eventually(10*time.Second, "the leader knows", func() bool { return w.AwaitLeader(20 * time.Second).Paused() })
	_, err := lab.StartHog(w.Nodes[0].Namespace, group)
	require.NoError(t, err)
	before := w.weights("weighed")
	first.Kill()
	second := w.AwaitLeader(20 * time.Second)
	require.NotEqual(t, first.Name, second.Name)
	rounds := second.Metric("weir_leader_rounds_total")
	w.Eventually(30*time.Second, "two more rounds", func() bool { return second.Metric("weir_leader_rounds_total") >= rounds+2 })
	require.Equal(t, before, w.weights("weighed"))

	w.Weir("resume")
	most := w.Share(client, f, fast)
	w.Eventually(60*time.Second, "the one with the hog gets less", func() bool { return w.Share(client, f, fast) < most-0.05 })
	require.Equal(t, second.Name, w.lastEvent("weighed").By)
}

func (w *World) lastEvent(service string) cluster.Event {
	w.t.Helper()
	events, err := w.Store.Events(w.t.Context(), service)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, events)
	return events[len(events)-1]
}

// weights are those that the leader wrote.
func (w *World) weights(service string) *cluster.Weights {
	w.t.Helper()
	snapshot, err := w.Store.Snapshot(w.t.Context())
	require.NoError(w.t, err)
	in, ok := snapshot.Services.Get(service)
	require.True(w.t, ok)
	return in.Weights
}

// health is what a node says of a worker.
func (w *World) health(service string, of *Worker) cluster.State {
	w.t.Helper()
	snapshot, err := w.Store.Snapshot(w.t.Context())
	require.NoError(w.t, err)
	in, ok := snapshot.Services.Get(service)
	require.True(w.t, ok)
	for _, s := range cluster.Resolve(in).Instances {
		if a, _ := s.Instance.Target(in.Service.Ports[0]); a == netip.MustParseAddrPort(of.Address) {
			return s
		}
	}
	require.Fail(w.t, "no such instance", of.Address)
	return cluster.State{}
}

// TestWishesReachTheKernel lets an agent beside each of two instances say what part of its weight it wants, as agents for
// HAProxy do.
func TestWishesReachTheKernel(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	w.StartControlCenters(1)
	one, _ := w.Serve(w.Nodes[0], 80, false)
	two, _ := w.Serve(w.Nodes[1], 80, false)
	for i, says := range []string{"25%\n", "up 100%\r\n"} {
		l, err := w.Nodes[i].Listen("tcp", ":8081")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte(says))
				_ = conn.Close()
			}
		}()
	}
	f := w.Frontend(cluster.TCP, false)
	s := Service("wishing", f, one, two)
	s.Load = &cluster.LoadSource{Agent: 8081}
	w.Publish(s)
	share := func() float64 {
		r := w.Flood(w.Nodes[2], f, 1000)
		return float64(r.ByID[one]) / float64(r.Connections)
	}
	w.Eventually(40*time.Second, "one connection of five", func() bool { return share() < 0.25 })
	require.InDelta(t, 0.2, share(), 0.05)
	told := w.lastEvent("wishing")
	require.Equal(t, "instance "+one+" wishes 25 % of its weight", told.Reason)
	require.InDelta(t, 20, told.Out[one]["share"], 0.1)

	// When it is asked no more, the file's weights are back.
	s = Service("wishing", f, one, two)
	w.Publish(s)
	w.Eventually(20*time.Second, "half", func() bool { return share() > 0.45 })
	require.Equal(t, "balance is static: the weights are those of the file", w.lastEvent("wishing").Reason)
}
