package nft

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Connections are counted at the node that has the instance, and for no other instance.
func TestLocalCounts(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	install(t, r.d, build(rules.Options{Node: "n1"},
		service("a", "10.10.1.1 fd10::1", 80, "192.168.10.100:80", "192.168.10.101:80", "[fd00:10::100]:80"),
	))
	counts := func() map[cluster.Listener]uint64 {
		got, err := r.d.LocalCounts(t.Context())
		require.NoError(t, err)
		return got
	}
	here := cluster.Listener{Address: netip.MustParseAddrPort("192.168.10.100:80"), Proto: cluster.TCP}
	require.Equal(t, map[cluster.Listener]uint64{here: 0}, counts(), "the others run on no node that is known")
	result := r.connect(frontend("10.10.1.1:80"), netip.Addr{}, 60)
	require.Zero(t, result.Failed)
	require.Positive(t, result.ByID["i1"])
	require.Equal(t, map[cluster.Listener]uint64{here: uint64(result.ByID["i1"])}, counts())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.d.LocalCounts(ended)
	require.ErrorIs(t, err, context.Canceled)
}

func TestLocalCountsWithoutATable(t *testing.T) {
	t.Parallel()
	got, err := open(t, namespace(t), OwnAuto).LocalCounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, got)
}
