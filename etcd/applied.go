package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// WatchApplied tells fn which nodes are alive and what each node, alive or not, last said that it has applied: once at
// the beginning and at each change, with maps of its own. It returns nil when fn is done, and the context's error, with
// what kept it from answering, when that ends first. Values that cannot be read are left out.
func (s *Store) WatchApplied(ctx context.Context, fn func(alive map[string]bool, applied map[string]cluster.Applied) (done bool)) error {
	p := (&progress{store: s, fn: fn}).mirror()
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

// mirror covers both kinds of keys, which lie side by side.
func (p *progress) mirror() *mirror {
	return &mirror{
		store: p.store, doing: "watch ops/applied", from: p.store.prefix + "ops/alive/", to: clientv3.GetPrefixRangeEnd(p.store.prefix + "ops/applied/"),
		clear:  func() { p.alive, p.applied = map[string]bool{}, map[string]cluster.Applied{} },
		put:    p.put,
		remove: p.remove,
		tell:   func(int64) bool { return p.fn(maps.Clone(p.alive), maps.Clone(p.applied)) },
	}
}

func (p *progress) put(k Key, kv *mvccpb.KeyValue) {
	switch k.Kind {
	case KindAlive:
		p.alive[k.Node] = true
	case KindApplied:
		if a, err := decodeReport[cluster.Applied](kv.Value); err == nil {
			p.applied[k.Node] = *a
		} else {
			delete(p.applied, k.Node)
		}
	}
}

func (p *progress) remove(k Key) {
	switch k.Kind {
	case KindAlive:
		delete(p.alive, k.Node)
	case KindApplied:
		delete(p.applied, k.Node)
	}
}
