package etcd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestPublishArrivesAndWithdrawLeavesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	w := watch(t, s, WatchOptions{})
	a := svc("a", 1)
	revision := publish(t, s, a)
	got := w.until(t, "a arrives", has("a"))
	require.Equal(t, revision, got.Revision)
	require.Equal(t, revision, got.Barrier)
	require.True(t, got.Ready)
	in, _ := got.Services.Get("a")
	want := *a
	want.CreateRevision, want.ModRevision = revision, revision
	require.Equal(t, &want, in.Service)

	_, err := s.Commit(t.Context(), cluster.SetAdmin{Service: "a", ID: a.Instances[0].ID, Admin: &cluster.Admin{Drain: true}})
	require.NoError(t, err)
	w.until(t, "the drain arrives", func(s *cluster.Snapshot) bool {
		in, _ := s.Services.Get("a")
		return in.Admin[a.Instances[0].ID].Drain
	})
	revision, err = s.Commit(t.Context(), cluster.Withdraw{Service: stored(t, s, "a")})
	require.NoError(t, err)
	w.until(t, "a leaves", func(s *cluster.Snapshot) bool { return reached(revision)(s) && lacks("a")(s) })

	listed, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, listed.Revision, revision, "who lists after a delete has applied it")
	publish(t, s, svc("b", 1)) // the frontend is free again
	require.NotContains(t, keys(t, s), "net/admin/a/"+a.Instances[0].ID)
}
