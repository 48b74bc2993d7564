package etcd

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Health writes net/health/<node>: what its load monitor says of instances that are not well; where there is nothing to
// say the key goes. It says whether it had to write: what the key says already is not written again, for every agent
// hears of it.
func (s *Store) Health(ctx context.Context, node string, h cluster.NodeHealth) (wrote bool, err error) {
	key := Key{Kind: KindHealth, Node: node}
	doing := "tell of instances that are not well, as node " + printable(node)
	if err := key.Valid(); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	h = maps.Clone(h)
	maps.DeleteFunc(h, func(_ string, instances map[string]cluster.Health) bool { return len(instances) == 0 })
	var value []byte
	if len(h) > 0 {
		if value, err = readable(key, h); err != nil {
			return false, fmt.Errorf("%s: %w", doing, err)
		}
	}
	err = s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{key.String()})
		switch {
		case err != nil:
			return err
		case found[0] == nil && value == nil, found[0] != nil && value != nil && bytes.Equal(found[0].Value, value):
			return nil
		case value == nil:
			_, err = c.Delete(ctx, s.key(key))
		default:
			_, err = c.Put(ctx, s.key(key), string(value))
		}
		wrote = wrote || err == nil
		return err
	})
	return wrote, err
}
