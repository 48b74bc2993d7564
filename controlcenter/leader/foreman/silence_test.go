package foreman_test

import (
	"maps"
	"slices"
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
		maps.Copy(out, h.pids())
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
	l.until("three serve", are(3))
	before := l.pids()
	require.Len(t, before, 3)
	client, err := l.store.Client()
	require.NoError(t, err)
	key := l.store.Prefix() + "net/services/a"
	published, err := client.Get(t.Context(), key)
	require.NoError(t, err)

	says := func(r foreman.Report) bool {
		return slices.ContainsFunc(r.Problems, func(p cluster.Problem) bool {
			return strings.Contains(p.Error(), "nobody withdrew it: 3 of its instances run on")
		})
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
		var report func() foreman.Report
		stop, report = l.lead("cc-" + strings.ReplaceAll(what, " ", "-"))
		require.Eventually(t, func() bool { return says(report()) }, soon, 10*time.Millisecond, what)
		l.again(report, 3)
		wanted := l.wanted()
		require.Zero(t, wanted[cluster.WantDrained]+wanted[cluster.WantStopped], what)
		require.Equal(t, before, l.pids(), what)
		_, err = client.Put(t.Context(), key, string(published.Kvs[0].Value))
		require.NoError(t, err)
		l.until("they serve again", are(3))
		require.Equal(t, before, l.pids(), what)
	}

	snapshot, err := l.store.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get("a")
	l.commit(cluster.Withdraw{Service: in.Service})
	require.Eventually(t, func() bool { return len(l.pids()) == 0 }, soon, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		ops := l.operations()
		return len(ops.Scaled) == 0 && len(ops.Assigned) == 0
	}, soon, 10*time.Millisecond, "nothing is left of it")
	stop()
}
