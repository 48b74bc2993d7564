package integration

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// asleep waits until a service has no instance left and every node holds connections to it.
func (w *World) asleep(service string, within time.Duration) {
	w.t.Helper()
	took := w.Eventually(within, service+" sleeps", func() bool {
		ops, err := w.Store.Operations(w.t.Context())
		require.NoError(w.t, err)
		assigned := 0
		for _, there := range ops.Assigned {
			assigned += len(there)
		}
		scaled, known := ops.Scaled[service]
		return known && scaled.Replicas == 0 && assigned == 0 && len(ops.Wakes) == 0 && len(w.Serving(service)) == 0
	})
	for _, a := range w.Agents {
		w.Eventually(promised, "agent "+a.Name+" knows", func() bool { return a.Metric("weir_agent_asleep") == 1 })
	}
	w.t.Logf("%s sleeps after %s", service, took.Round(100*time.Millisecond))
}

// enter connects once, as any client does, and waits for the instance's greeting.
func (w *World) enter(ctx context.Context, from *lab.Host, f cluster.Frontend) (instance string, err error) {
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(f.VIP, f.Port).String())
	if err != nil {
		return "", fmt.Errorf("%s: %w", from.Name(), err)
	}
	defer c.Close()
	greeting, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(greeting), err
}

// TestWakeFromZero has a service that nobody uses lose its last instance, and get one when somebody connects: clients on a
// node and behind one connect once, and their kernel's own retry succeeds. Who knocks while etcd is away is heard when it is back.
func TestWakeFromZero(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2, AgentArgs: LoadsForAll})
	w.StartLaunchers()
	w.StartControlCenters(1)
	f := w.Frontend(cluster.TCP, false)
	w.Publish(w.Launched("a", f, func(s *cluster.Service) {
		// Longer than the first to get in may be ahead of the last: two nodes do not learn of an instance at the same moment.
		s.Scale = &cluster.Scale{Max: 4, Idle: cluster.Duration(3 * time.Second)}
	}))
	_, err := w.enter(t.Context(), w.Client, f)
	require.NoError(t, err, "a connection to a service whose first instance starts waits, too")
	w.asleep("a", 60*time.Second)
	require.Contains(t, w.Weir("get", "services"), "asleep")
	require.Contains(t, w.Weir("describe", "service", "a"), "asleep: it has no instance until somebody connects")
	require.Contains(t, w.Weir("explain", "local", f.String(), "--node", "n1"), "outcome: held")

	trace := w.trace(w.Nodes[0], f, "--count", "1")
	begin := time.Now()
	w.wakes(f, begin)
	held := w.attempts(trace)
	require.Len(t, held, 1)
	require.Equal(t, rules.Held, held[0].Outcome)

	scaled := func() (from0 int) {
		events, err := w.Store.Events(t.Context(), "a")
		require.NoError(t, err)
		for _, e := range events {
			if e.What == cluster.EventScaled && e.Out["service"]["from"] == 0 && e.At.After(begin) {
				require.Equal(t, float64(1), e.Out["service"]["to"])
				from0++
			}
		}
		return from0
	}
	w.asleep("a", 60*time.Second)
	require.Equal(t, 1, scaled(), "it was woken once, although two nodes told of it")

	w.StopEtcd()
	knocks := w.Agents[0].Metric("weir_agent_knocks_total")
	client := make(chan error, 1)
	begin = time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		_, err := w.enter(ctx, w.Client, f)
		client <- err
	}()
	w.Eventually(promised, "somebody knocks", func() bool { return w.Agents[0].Metric("weir_agent_knocks_total") > knocks })
	w.StartEtcd()
	require.NoError(t, <-client)
	t.Logf("connected %s after etcd was away", time.Since(begin).Round(10*time.Millisecond))
	require.Equal(t, 1, scaled())
}

// wakes has clients connect, and requires that each gets in within three seconds of the instance being there.
func (w *World) wakes(f cluster.Frontend, begin time.Time) {
	w.t.Helper()
	var clients errgroup.Group
	for _, from := range []*lab.Host{w.Client, w.Nodes[1], w.Client} {
		clients.Go(func() error {
			ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
			defer cancel()
			if _, err := w.enter(ctx, from, f); err != nil {
				return err
			}
			w.t.Logf("%s is connected %s after its first packet", from.Name(), time.Since(begin).Round(10*time.Millisecond))
			return nil
		})
	}
	ids := w.AwaitServing("a", 1, 30*time.Second)
	started := time.Since(begin)
	require.NoError(w.t, clients.Wait())
	w.t.Logf("instance %v was there after %s", ids, started.Round(10*time.Millisecond))
	// After seven seconds the pauses of the client's kernel are longer than three, but never longer than what has passed.
	require.Less(w.t, time.Since(begin), started+max(3*time.Second, started))
}
