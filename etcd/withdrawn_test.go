package etcd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// The leader learns from ops/scale that a service was withdrawn, and until when. A key that somebody deleted says nothing.
func TestWhoWithdrawsALaunchedServiceLeavesWord(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	operator := as("weir-operator")
	launched := svc("a", 1)
	launched.Instances, launched.Run = nil, &cluster.Run{Command: []string{"/bin/a"}}
	publish(t, operator, launched)
	publish(t, operator, svc("b", 2))
	scaled := func() map[string]cluster.Scaled {
		ops, err := as("weir-controlcenter").Operations(t.Context())
		require.NoError(t, err)
		return ops.Scaled
	}
	withdraw := func(s *cluster.Service) error {
		_, err := operator.Commit(t.Context(), cluster.Withdraw{Service: s})
		return err
	}
	_, err := operator.Commit(t.Context(), cluster.SetScaled{Service: "b", Scaled: &cluster.Scaled{Replicas: 3}})
	require.NoError(t, err)
	require.NoError(t, withdraw(stored(t, operator, "b")))
	require.Empty(t, scaled(), "of what Weir does not run nothing is left")
	require.NoError(t, withdraw(stored(t, operator, "a")))
	require.True(t, scaled()["a"].Withdrawn)
	require.Equal(t, "operator", scaled()["a"].By)

	seen, err := as("weir-viewer").Operations(t.Context())
	require.NoError(t, err, "who only looks sees it as well")
	require.Contains(t, seen.Scaled, "a")

	publish(t, operator, launched)
	require.Empty(t, scaled(), "who publishes it again takes that back")
	_, err = operator.Commit(t.Context(), cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 3, Pinned: true}})
	require.NoError(t, err)
	client := raw(t, as("root"))
	_, err = client.Delete(t.Context(), as("root").prefix+"net/services/a")
	require.NoError(t, err)
	require.False(t, scaled()["a"].Withdrawn)
	publish(t, operator, launched)
	require.Equal(t, 3, scaled()["a"].Replicas, "how many there should be outlives a slip")

	// What nobody can read, or that is gone already, can be withdrawn as well.
	orphan := &cluster.Service{Name: "a", Run: &cluster.Run{}}
	require.ErrorIs(t, withdraw(orphan), cluster.ErrConflict, "it is published")
	_, err = client.Put(t.Context(), as("root").prefix+"net/services/a", "{")
	require.NoError(t, err)
	require.NoError(t, withdraw(orphan))
	require.True(t, scaled()["a"].Withdrawn)
	require.NotContains(t, keys(t, as("root")), "net/services/a")
	require.NoError(t, withdraw(orphan), "again")

	// The leader forgets it once nothing runs, unless something else was said meanwhile.
	reigns, _ := stand(t, as("weir-controlcenter"), "cc1", time.Minute)
	l := next(t, "cc1", reigns)
	before := scaled()["a"]
	require.NoError(t, withdraw(orphan))
	_, err = l.Write(t.Context(), cluster.Buried{Service: "a", ModRevision: before.ModRevision})
	require.NoError(t, err)
	require.True(t, scaled()["a"].Withdrawn, "it was withdrawn anew")
	_, err = l.Write(t.Context(), cluster.Buried{Service: "a", ModRevision: scaled()["a"].ModRevision})
	require.NoError(t, err)
	require.Empty(t, scaled())
	_, err = l.Write(t.Context(), cluster.Buried{Service: "../a"})
	require.Error(t, err)
}
