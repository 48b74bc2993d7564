package etcd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	n1, root := as("weir-node-n1"), as("root")
	publish(t, as("weir-operator"), svc("a", 1))
	require.NoError(t, n1.Join(t.Context(), "n1", &cluster.Node{}), "the word of a node that nobody knows does not count")
	w := watch(t, n1, WatchOptions{})
	const id = "192.168.0.2:80"
	dead := cluster.NodeHealth{"a": {id: {Verdict: cluster.Dead, Reason: "refused", Since: time.Unix(1, 0).UTC()}}, "b": {}}
	tell := func(h cluster.NodeHealth) bool {
		t.Helper()
		wrote, err := n1.Health(t.Context(), "n1", h)
		require.NoError(t, err)
		return wrote
	}
	revision := func() int64 {
		now, _, err := root.revision(t.Context(), raw(t, root))
		require.NoError(t, err)
		return now
	}
	before := revision()
	require.False(t, tell(nil), "nothing to say, and nothing said")
	require.Equal(t, before, revision())
	require.True(t, tell(dead))
	require.Len(t, dead, 2, "what was handed in is left alone")
	w.until(t, "dead", func(s *cluster.Snapshot) bool {
		in, _ := s.Services.Get("a")
		return in != nil && in.Health[id] == dead["a"][id]
	})
	before = revision()
	require.False(t, tell(dead), "it says that already")
	require.Equal(t, before, revision())
	require.True(t, tell(cluster.NodeHealth{"a": {}}))
	require.NotContains(t, keys(t, root), "net/health/n1")

	_, err := n1.Health(t.Context(), "n2", dead)
	require.ErrorIs(t, err, cluster.ErrDenied)
	_, err = n1.Health(t.Context(), "n1/../n2", dead)
	require.Error(t, err)
	_, err = n1.Health(t.Context(), "n1", cluster.NodeHealth{"a": {id: {Verdict: "unwell"}}})
	require.ErrorContains(t, err, "want dead, failing, leaving or suspect")
	_, err = n1.Health(t.Context(), "n1", cluster.NodeHealth{"a": {id: {Verdict: cluster.Dead, Output: strings.Repeat("x", cluster.MaxFileBytes)}}})
	require.ErrorContains(t, err, "more than")
}
