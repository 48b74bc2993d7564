package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// WatchApplied tells fn which nodes are alive and what each node, alive or not, last said that it has applied: once at
// the beginning and at each change, with maps of its own. It returns nil when fn is done, and the context's error, with
// what kept it from answering, when that ends first. Values that cannot be read are left out.
func (s *Store) WatchApplied(ctx context.Context, fn func(alive map[string]bool, applied map[string]cluster.Applied) (done bool)) error {
	p := &progress{store: s, fn: fn}
	var b backoff
	var last error
	for ctx.Err() == nil {
		done, err := p.session(ctx, &b)
		if done {
			return nil
		}
		if errors.Is(err, cluster.ErrDenied) {
			return fmt.Errorf("wait for nodes to apply: %w", err) // asking again would not help
		}
		if err != nil && ctx.Err() == nil {
			last = err
			b.wait(ctx)
		}
	}
	if last != nil {
		return fmt.Errorf("wait for nodes to apply: %w: %w", ctx.Err(), last)
	}
	return fmt.Errorf("wait for nodes to apply: %w", ctx.Err())
}

type progress struct {
	store   *Store
	fn      func(map[string]bool, map[string]cluster.Applied) bool
	alive   map[string]bool
	applied map[string]cluster.Applied
}

// session lists and follows. Both kinds of keys lie side by side, so that one watch covers them.
func (p *progress) session(ctx context.Context, b *backoff) (done bool, err error) {
	l, err := p.store.members.link()
	if err != nil {
		return false, explain("connect", err)
	}
	defer func() {
		if err != nil && ctx.Err() == nil && lost(err) {
			p.store.members.turn(l)
		}
		err = explain("watch ops/applied", err)
	}()
	revision, err := p.list(ctx, l.client)
	if err != nil {
		return false, err
	}
	b.reset()
	if p.tell() {
		return true, nil
	}
	return p.follow(ctx, l, revision)
}

func (p *progress) span() (from, to string) {
	return p.store.prefix + "ops/alive/", clientv3.GetPrefixRangeEnd(p.store.prefix + "ops/applied/")
}

func (p *progress) list(ctx context.Context, c *clientv3.Client) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	from, to := p.span()
	r, err := c.Get(ctx, from, clientv3.WithRange(to))
	if err != nil {
		return 0, err
	}
	p.alive, p.applied = map[string]bool{}, map[string]cluster.Applied{}
	for _, kv := range r.Kvs {
		p.put(string(kv.Key), kv.Value)
	}
	return r.Header.Revision, nil
}

func (p *progress) follow(ctx context.Context, l *link, revision int64) (done bool, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	from, to := p.span()
	events := streamOf(l.client).Watch(ctx, from, clientv3.WithRange(to), clientv3.WithRev(revision+1), clientv3.WithFragment())
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-l.turned():
			return false, errTurned
		case r, ok := <-events:
			if !ok {
				return false, errTurned
			}
			if err := r.Err(); err != nil {
				return false, err
			}
			for _, e := range r.Events {
				if e.Type == clientv3.EventTypeDelete {
					p.remove(string(e.Kv.Key))
				} else {
					p.put(string(e.Kv.Key), e.Kv.Value)
				}
			}
			if p.tell() {
				return true, nil
			}
		}
	}
}

func (p *progress) tell() bool { return p.fn(maps.Clone(p.alive), maps.Clone(p.applied)) }

func (p *progress) put(key string, value []byte) {
	k, err := ParseKey(strings.TrimPrefix(key, p.store.prefix))
	switch {
	case err != nil:
	case k.Kind == KindAlive:
		p.alive[k.Node] = true
	case k.Kind == KindApplied:
		if a, err := decodeReport[cluster.Applied](value); err == nil {
			p.applied[k.Node] = *a
		} else {
			delete(p.applied, k.Node)
		}
	}
}

func (p *progress) remove(key string) {
	k, err := ParseKey(strings.TrimPrefix(key, p.store.prefix))
	switch {
	case err != nil:
	case k.Kind == KindAlive:
		delete(p.alive, k.Node)
	case k.Kind == KindApplied:
		delete(p.applied, k.Node)
	}
}
