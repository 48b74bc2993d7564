package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Down says whether a node was declared down.
func (s *Store) Down(ctx context.Context, node string) (down bool, err error) {
	key := Key{Kind: KindDown, Node: node}
	doing := "see whether node " + printable(node) + " was declared down"
	if err := key.Valid(); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	err = s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{key.String()})
		if err == nil {
			down = found[0] != nil
		}
		return err
	})
	return down, err
}

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

// ErrNotJoined says that the cluster does not know the node yet.
var ErrNotJoined = errors.New("its agent has not joined the cluster yet")

// Monitor adds to net/nodes/<node> where its load monitor answers, for one that is not part of the agent.
func (s *Store) Monitor(ctx context.Context, node, url string) error {
	key := Key{Kind: KindNode, Node: node}
	doing := "tell where the load monitor of node " + printable(node) + " answers"
	if err := key.Valid(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{key.String()})
		if err == nil && found[0] == nil {
			err = ErrNotJoined
		}
		if err != nil {
			return err
		}
		record, err := decode[cluster.Node](found[0].Value)
		if err != nil || record.Monitor == url {
			return err
		}
		record.Monitor = url
		value, err := readable(key, record)
		if err != nil {
			return err
		}
		unchanged := clientv3.Compare(clientv3.ModRevision(s.key(key)), "=", found[0].ModRevision)
		r, err := c.Txn(ctx).If(unchanged).Then(clientv3.OpPut(s.key(key), string(value))).Commit()
		if err == nil && !r.Succeeded {
			return fmt.Errorf("%w: its agent wrote at the same time", cluster.ErrConflict)
		}
		return err
	})
}

// Applied writes ops/applied/<node>: what the node's kernel holds.
func (s *Store) Applied(ctx context.Context, node string, a cluster.Applied) error {
	a.Insecure = s.config.Insecure
	return s.tell(ctx, Key{Kind: KindApplied, Node: node}, "tell what node "+printable(node)+" has applied", a)
}
