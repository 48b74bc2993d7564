package foreman_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
)

// pids are the processes of all instances that run, by instance.
func (l *lab) pids() map[string]int {
	out := map[string]int{}
	for _, h := range l.hosts {
		h.mu.Lock()
		for id, r := range h.there {
			if r.status.PID != 0 {
				out[id] = r.status.PID
			}
		}
		h.mu.Unlock()
	}
	return out
}

// What says that instances should run is deleted by hand, becomes unreadable, is lost with what was made of it, each time before
// another leader that never saw it. They run on as they are, until somebody withdraws the service.
func TestInstancesOutliveWhatIsSaidOfThem(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop, _ := l.lead("cc0")
	three := 3
	l.publish(func(s *cluster.Service) { s.Replicas = &three })
	l.until("three serve", func(m map[string][]string) bool { return total(m) == 3 })
	before := l.pids()
	require.Len(t, before, 3)
	client, err := l.store.Client()
	require.NoError(t, err)
	key := l.store.Prefix() + "net/services/a"
	published, err := client.Get(t.Context(), key)
	require.NoError(t, err)

	says := func(hands func() *foreman.Foreman) func() bool {
		return func() bool {
			var page strings.Builder
			return hands() != nil && hands().WriteReport(&page) == nil && strings.Contains(page.String(), "nobody withdrew it: 3 of its instances run on")
		}
	}
	lose := map[string]func() error{
		"deleted by hand": func() error { _, err := client.Delete(t.Context(), key); return err },
		"unreadable":      func() error { _, err := client.Put(t.Context(), key, "{"); return err },
		"with all assignments": func() error {
			for _, prefix := range []string{"net/services/", "net/instances/", "ops/status/", "ops/ports/", "ops/scale/", "ops/assign/"} {
				if _, err := client.Delete(t.Context(), l.store.Prefix()+prefix, clientv3.WithPrefix()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for _, what := range []string{"deleted by hand", "unreadable", "with all assignments"} {
		stop()
		require.NoError(t, lose[what](), what)
		var hands func() *foreman.Foreman
		stop, hands = l.lead("cc-" + strings.ReplaceAll(what, " ", "-"))
		require.Eventually(t, says(hands), 20*time.Second, 10*time.Millisecond, what)
		time.Sleep(300 * time.Millisecond) // some rounds more
		require.Equal(t, before, l.pids(), what)
		_, err = client.Put(t.Context(), key, string(published.Kvs[0].Value))
		require.NoError(t, err)
		l.until("they serve again", func(m map[string][]string) bool { return total(m) == 3 })
		require.Equal(t, before, l.pids(), what)
	}

	snapshot, err := l.store.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get("a")
	_, err = l.store.Commit(t.Context(), cluster.Withdraw{Service: in.Service})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(l.pids()) == 0 }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		ops, err := l.store.Operations(t.Context())
		return err == nil && len(ops.Scaled) == 0 && len(ops.Assigned) == 0
	}, 30*time.Second, 10*time.Millisecond, "nothing is left of it")
	stop()
}
