package etcd

import (
	"bytes"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Join writes net/nodes/<node>, unless it says that already: a thousand restarting agents must not wake each other. It
// also takes back that the node is down, since it is here.
func (s *Store) Join(ctx context.Context, node string, n *cluster.Node) error {
	key, down := Key{Kind: KindNode, Node: node}, Key{Kind: KindDown, Node: node}
	doing := "join as node " + printable(node)
	if err := key.Valid(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	value, err := readable(key, n)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{key.String(), down.String()})
		if err != nil {
			return err
		}
		var ops []clientv3.Op
		if found[0] == nil || !bytes.Equal(found[0].Value, value) {
			ops = append(ops, clientv3.OpPut(s.key(key), string(value)))
		}
		if found[1] != nil {
			ops = append(ops, clientv3.OpDelete(s.key(down)))
		}
		if len(ops) == 0 {
			return nil
		}
		_, err = c.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

// Applied writes ops/applied/<node>: what the node's kernel holds.
func (s *Store) Applied(ctx context.Context, node string, a cluster.Applied) error {
	a.Insecure = s.config.Insecure
	return s.tell(ctx, Key{Kind: KindApplied, Node: node}, "tell what node "+printable(node)+" has applied", a)
}
