package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// late is how long an event may be under way. Who has not seen it then never will.
const late = 3 * time.Second

// probe finds out what an open watch does not tell, and returns the reason to end the session:
//   - The member does not answer any more. It is asked when nothing was heard of etcd for a while.
//   - We may not read any more: etcd looks at rights only when a watch begins.
//   - Events were lost. Every change moves net/barrier, so who is behind that has missed something.
func (w *watcher) probe(ctx context.Context, l *link) error {
	check := time.Now().Add(jitter(w.options.Check))
	for {
		sleep(ctx, w.options.Probe)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		due := !time.Now().Before(check)
		if !due && w.store.horizon.silence() < w.options.Probe {
			continue
		}
		if due {
			check = time.Now().Add(jitter(w.options.Check))
		}
		_, changed, err := w.store.revision(ctx, l.client)
		if err != nil {
			return fmt.Errorf("ask %s: %w", l.endpoint, err)
		}
		if due && w.behind(ctx, changed) {
			return errRelist
		}
	}
}

func (w *watcher) behind(ctx context.Context, changed int64) bool {
	if w.seen.Load() >= changed {
		return false
	}
	sleep(ctx, late)
	return ctx.Err() == nil && w.seen.Load() < changed
}

// revision is a linearizable read of next to nothing: no lagging member can answer it. It returns the revision of the
// store, and that of the last change, which is what net/barrier is for.
func (s *Store) revision(ctx context.Context, c *clientv3.Client) (now, changed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.Get(ctx, s.prefix+barrierKey, clientv3.WithKeysOnly())
	if err != nil {
		return 0, 0, err
	}
	s.horizon.note(r.Header.Revision)
	if len(r.Kvs) > 0 {
		changed = r.Kvs[0].ModRevision
	}
	return r.Header.Revision, changed, nil
}
