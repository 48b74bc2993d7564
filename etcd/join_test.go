package etcd

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestALoadMonitorBesideItsAgent(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	n1, root := as("weir-node-n1"), as("root")
	const url = "https://192.0.2.1:9647"
	require.ErrorIs(t, n1.Monitor(t.Context(), "n1", url), ErrNotJoined)
	told := cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Labels: map[string]string{"zone": "east"}, Version: "1"}
	require.NoError(t, n1.Join(t.Context(), "n1", &told))
	require.NoError(t, n1.Monitor(t.Context(), "n1", url))
	want := told
	want.Monitor = url
	got, err := decode[cluster.Node]([]byte(keys(t, root)["net/nodes/n1"]))
	require.NoError(t, err)
	require.Equal(t, want, *got)

	revision := func() int64 {
		now, _, err := root.revision(t.Context(), raw(t, root))
		require.NoError(t, err)
		return now
	}
	before := revision()
	require.NoError(t, n1.Monitor(t.Context(), "n1", url))
	require.NoError(t, n1.Join(t.Context(), "n1", &want))
	require.Equal(t, before, revision(), "it says that already")
	require.ErrorIs(t, as("weir-node-n2").Monitor(t.Context(), "n1", "http://192.0.2.2:1"), cluster.ErrDenied)
	require.Error(t, n1.Monitor(t.Context(), "../n1", url))
}

func TestDown(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	n1, root := as("weir-node-n1"), as("root")
	down := func(node string) bool {
		is, err := n1.Down(t.Context(), node)
		require.NoError(t, err)
		return is
	}
	require.False(t, down("n1"))
	_, err := root.Commit(t.Context(), cluster.SetDown{Node: "n1", Down: &cluster.Down{Reason: "silent"}})
	require.NoError(t, err)
	require.True(t, down("n1"))
	require.False(t, down("n2"))
	require.NoError(t, n1.Join(t.Context(), "n1", &cluster.Node{}))
	require.False(t, down("n1"))
	_, err = n1.Down(t.Context(), "../n1")
	require.Error(t, err)
}
