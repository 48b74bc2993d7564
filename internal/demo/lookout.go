package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
)

// lookout follows in etcd what becomes of a service.
type lookout struct {
	store   *etcd.Store
	service string
	nodes   []string

	mu         sync.Mutex
	snapshot   *cluster.Snapshot   // nil: not told yet
	operations *cluster.Operations // nil: not told yet
	changed    chan struct{}       // closed at the next change
	fewest     int                 // that served at once since it was last asked
}

func newLookout(store *etcd.Store, service string, nodes []string) *lookout {
	return &lookout{store: store, service: service, nodes: nodes, changed: make(chan struct{})}
}

// run follows until the context ends, and returns nil then. It tells of each decision as it is made.
func (l *lookout) run(ctx context.Context, tell func(cluster.Event)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return l.store.Watch(ctx, etcd.WatchOptions{}, func(s *cluster.Snapshot) { l.learn(func() { l.snapshot = s }) })
	})
	g.Go(func() error {
		return l.store.WatchOperations(ctx, func(o *cluster.Operations) { l.learn(func() { l.operations = o }) })
	})
	g.Go(func() error {
		return l.store.FollowEvents(ctx, l.service, func(events []cluster.Event) {
			for _, e := range events {
				tell(e)
			}
		})
	})
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (l *lookout) learn(set func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set()
	l.fewest = min(l.fewest, l.castNow().serving())
	close(l.changed)
	l.changed = make(chan struct{})
}

// castNow is called with the lock held.
func (l *lookout) castNow() cast {
	if l.snapshot == nil || l.operations == nil {
		return cast{}
	}
	return castOf(l.snapshot, l.operations, l.service, l.nodes)
}

// cast is who plays now.
func (l *lookout) cast() cast {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.castNow()
}

// least begins to watch how many serve at least; what it returns says how few there were.
func (l *lookout) least() (told func() int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fewest = l.castNow().serving()
	return func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.fewest
	}
}

// until waits until the cast is as it should be, and says how long that took.
func (l *lookout) until(ctx context.Context, limit time.Duration, what string, ok func(cast) bool) (time.Duration, error) {
	begin := time.Now()
	expired := time.NewTimer(limit)
	defer expired.Stop()
	for {
		l.mu.Lock()
		now, changed := l.castNow(), l.changed
		l.mu.Unlock()
		if ok(now) {
			return time.Since(begin), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(begin), ctx.Err()
		case <-expired.C:
			return time.Since(begin), fmt.Errorf("not within %s: %s. There are: %s", limit, what, now)
		case <-changed:
		}
	}
}
