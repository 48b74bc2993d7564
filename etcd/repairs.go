package etcd

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Repaired writes ops/repairs/<node>: the newest repairs of the node's rules.
func (s *Store) Repaired(ctx context.Context, node string, r cluster.Repairs) error {
	return s.tell(ctx, Key{Kind: KindRepairs, Node: node}, "tell of the repairs on node "+printable(node), r)
}

// Repairs are what the nodes told of their repairs. Values that cannot be read are left out.
func (s *Store) Repairs(ctx context.Context) (map[string]cluster.Repairs, error) {
	return reports[cluster.Repairs](ctx, s, "read the repairs", "ops/repairs/")
}

// reports reads what is said of each node under a prefix.
func reports[T any](ctx context.Context, s *Store, doing, under string) (map[string]T, error) {
	out := map[string]T{}
	err := s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Get(ctx, s.prefix+under, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		clear(out)
		for _, kv := range r.Kvs {
			k, err := ParseKey(strings.TrimPrefix(string(kv.Key), s.prefix))
			if err != nil {
				continue
			}
			if v, err := decodeReport[T](kv.Value); err == nil {
				out[k.Node] = *v
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// tell writes what a node says of itself.
func (s *Store) tell(ctx context.Context, key Key, doing string, v any) error {
	if err := key.Valid(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	value, err := encode(v)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Put(ctx, s.key(key), string(value))
		if err == nil {
			s.horizon.note(r.Header.Revision)
		}
		return err
	})
}
