package foreman

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// notes keeps what is written.
type notes []cluster.Decision

func (n *notes) Write(_ context.Context, decisions ...cluster.Decision) (int64, error) {
	*n = append(*n, decisions...)
	return 0, nil
}

// A withdrawal is told by another way than the snapshot, and may come first: it is not that of an older service of the name.
func TestAWithdrawalThatTheSnapshotDoesNotShowYet(t *testing.T) {
	t.Parallel()
	d, wrote, revision := cluster.NewDraft(), notes{}, int64(19)
	d.Ready(true)
	d.Service("a", &cluster.Service{Name: "a", Run: &cluster.Run{}, Scale: &cluster.Scale{Min: 1, Max: 2}})
	f := New(Config{
		Writer: &wrote, Snapshot: func() *cluster.Snapshot { return d.Snapshot(revision) },
		Measured: func() map[string]map[string]loadmon.Measured { return nil },
	})
	f.hear(&cluster.Operations{Revision: 20, Scaled: map[string]cluster.Scaled{"a": {Withdrawn: true, ModRevision: 20}}})
	require.NoError(t, f.once(t.Context()))
	require.Empty(t, wrote)
	revision = 21 // it was published again
	require.NoError(t, f.once(t.Context()))
	require.Contains(t, wrote, cluster.Buried{Service: "a", ModRevision: 20})
}
