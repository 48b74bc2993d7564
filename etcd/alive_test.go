package etcd

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// alive runs Alive until the returned function is called.
func alive(t *testing.T, s *Store, node string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Alive(ctx, node); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// presentAs waits until a node is, or is not, alive.
func presentAs(t *testing.T, s *Store, want map[string]bool) map[string]cluster.Applied {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var got map[string]cluster.Applied
	err := s.WatchApplied(ctx, func(alive map[string]bool, applied map[string]cluster.Applied) bool {
		got = applied
		return fmt.Sprint(alive) == fmt.Sprint(want)
	})
	require.NoError(t, err)
	return got
}

func TestAliveAndApplied(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	stop := alive(t, s, "n1")
	alive(t, open(t, s.config.Endpoints...), "n2")
	presentAs(t, s, map[string]bool{"n1": true, "n2": true})
	want := cluster.Applied{Revision: 7, TookMS: 1.5, Problems: []cluster.Problem{{Object: "service a", What: "x"}}}
	require.NoError(t, s.Applied(t.Context(), "n1", want))
	_, err := raw(t, s).Put(t.Context(), s.prefix+"ops/applied/n3", "nonsense")
	require.NoError(t, err)
	_, err = raw(t, s).Put(t.Context(), s.prefix+"ops/applied/n4", `{"revision":8,"mood":"fine"}`)
	require.NoError(t, err)
	stop()
	got := presentAs(t, s, map[string]bool{"n2": true})
	newer := cluster.Applied{Revision: 8} // of a newer version, which says more
	require.Equal(t, map[string]cluster.Applied{"n1": want, "n4": newer}, got, "an orderly stop gives the lease back at once; what was said stays")
	require.Error(t, s.Applied(t.Context(), "a/b", want))
	require.Error(t, s.Alive(t.Context(), "a/b"))
}

func TestWatchAppliedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	ctx, cancel := context.WithCancel(t.Context())
	err := s.WatchApplied(ctx, func(map[string]bool, map[string]cluster.Applied) bool { cancel(); return false })
	require.ErrorIs(t, err, context.Canceled)
}

func TestAliveComesBackAfterTheLeaseWasRevoked(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	alive(t, s, "n1")
	presentAs(t, s, map[string]bool{"n1": true})
	c := raw(t, s)
	leases, err := c.Leases(t.Context())
	require.NoError(t, err)
	_, err = c.Put(t.Context(), s.prefix+"net/down/n1", `{"reason":"its lease is gone"}`)
	require.NoError(t, err)
	begin, elapsed := time.Now(), lab.Pulse(t)
	_, err = c.Revoke(t.Context(), leases.Leases[0].ID)
	require.NoError(t, err)
	presentAs(t, s, map[string]bool{"n1": true})
	require.Less(t, elapsed(), aliveTTL*time.Second)
	require.NotContains(t, keys(t, s), "net/down/n1")
	t.Logf("back %s after the lease was revoked", time.Since(begin).Round(time.Millisecond))
}

func TestJoin(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	_, err := raw(t, s).Put(t.Context(), s.prefix+"net/down/n1", `{}`)
	require.NoError(t, err)
	node := &cluster.Node{Labels: map[string]string{"zone": "east"}}
	require.NoError(t, s.Join(t.Context(), "n1", node))
	first, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	got, _ := first.Nodes.Get("n1")
	require.Equal(t, node, got)
	require.NotContains(t, keys(t, s), "net/down/n1")
	require.NoError(t, s.Join(t.Context(), "n1", node))
	second, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Revision, second.Revision, "joining again as the same writes nothing")
	require.Error(t, s.Join(t.Context(), "N 1", node))
}

// The beat finds the frozen member: the watch, which would never notice, moves with it, and the lease lives on.
func TestAliveLeavesAFrozenMember(t *testing.T) {
	t.Parallel()
	e := server(t)
	bad, good := forward(t, e.Endpoint()), forward(t, e.Endpoint())
	s, direct := open(t, bad.endpoint(), good.endpoint()), open(t, e.Endpoint())
	s.members.at = 0
	w := watch(t, s, WatchOptions{Probe: time.Hour})
	alive(t, s, "n1")
	presentAs(t, direct, map[string]bool{"n1": true})
	before := leaseOf(t, direct, "n1")
	bad.Freeze(true)
	begin, elapsed := time.Now(), lab.Pulse(t)
	publish(t, direct, svc("a", 1))
	w.until(t, "a", has("a"))
	require.Less(t, elapsed(), aliveBeat+patience+3*time.Second)
	require.Equal(t, before, leaseOf(t, direct, "n1"))
	t.Logf("watch moved %s after the freeze", time.Since(begin).Round(time.Millisecond))
}

func leaseOf(t *testing.T, s *Store, node string) clientv3.LeaseID {
	t.Helper()
	r, err := raw(t, s).Get(t.Context(), s.prefix+"ops/alive/"+node)
	require.NoError(t, err)
	require.Len(t, r.Kvs, 1)
	return clientv3.LeaseID(r.Kvs[0].Lease)
}
