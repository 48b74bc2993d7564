package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// ErrNotYet is what Connected says, wrapped, while the first question to the store has neither been answered nor failed.
var ErrNotYet = errors.New("it has not answered yet")

// refusedAfter is how long the next member of the store has to answer when one could not be reached.
const refusedAfter = 150 * time.Millisecond

// recall is what this node served last, as far as the snapshot file knows. It is what deletions are judged by at the
// start, and what is served while etcd is away.
func (a *Agent) recall() *cluster.Snapshot {
	if a.c.StateDir == "" {
		return nil
	}
	snapshot, err := load(a.cacheFile())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.c.Logger.Error("the snapshot file cannot be used: if etcd is away, or has lost something, this start does not know", "err", err)
		}
		return nil
	}
	return snapshot
}

// judgedBy is what the store's first list is compared with.
func (a *Agent) judgedBy(last *cluster.Snapshot) *cluster.Snapshot {
	if a.c.AcceptRollback {
		return nil
	}
	return last
}

// handOver hands a value over and lets go of it: what a goroutine was started with lives as long as it runs, and the last
// snapshot of a large cluster is some ten megabytes.
func handOver[T any](v T) func() T {
	return func() (out T) {
		out, v = v, out
		return out
	}
}

// coldStart uses the snapshot file when etcd does not answer soon after the start.
func (a *Agent) coldStart(ctx context.Context, last *cluster.Snapshot) error {
	if last == nil || !a.waitForStore(ctx) {
		return nil
	}
	a.mu.Lock()
	known := a.inbox.snapshot != nil
	if !known {
		a.inbox.snapshot, a.inbox.arrived, a.inbox.stale = last, time.Now(), true
	}
	a.mu.Unlock()
	if known {
		return nil
	}
	a.c.Logger.Warn("etcd does not answer: working from the snapshot file", "revision", last.Revision, "services", last.Services.Len())
	a.syncer.Kick()
	return nil
}

// waitForStore returns true when the store had time enough; false when the context ended.
func (a *Agent) waitForStore(ctx context.Context) bool {
	for start := time.Now(); ; {
		waited, err := time.Since(start), a.c.Source.Connected()
		if waited >= a.c.ColdStart || waited >= refusedAfter && err != nil && !errors.Is(err, ErrNotYet) {
			return true
		}
		if !runner.Sleep(ctx, min(25*time.Millisecond, a.c.ColdStart-waited)) {
			return false
		}
	}
}
