package controlcenter

import (
	"context"

	"github.com/weir-lb/weir/cluster"
)

// Store is what the control center needs of etcd.
type Store interface {
	// Snapshot reads the present state.
	Snapshot(ctx context.Context) (*cluster.Snapshot, error)

	// Operations reads what nodes and launchers tell.
	Operations(ctx context.Context) (*cluster.Operations, error)

	// Commit writes a change whole or not at all and returns its revision. It refuses with the errors of package
	// cluster and says what it was doing; ErrConflict means that the change was planned on something that is no longer so.
	Commit(ctx context.Context, change cluster.Change) (int64, error)

	// WatchApplied calls fn with the nodes that are alive and what each node last told, at once and then whenever one
	// of them changes, until fn says that it has seen enough or the context ends.
	WatchApplied(ctx context.Context, fn func(alive map[string]bool, applied map[string]cluster.Applied) (done bool)) error
}
