package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// down refuses a node whose agent is in touch: the agent takes the node's end back only when it registers, and has done
// so already.
func (p planner) down(ctx context.Context, c cluster.SetDown) (*transaction, error) {
	t, err := p.set(ctx, Key{Kind: KindDown, Node: c.Node}, present(c.Down))
	if err != nil || c.Down == nil {
		return t, err
	}
	return t, p.gone(ctx, c.Node, t)
}

// gone makes a transaction depend on a node's agent not being in touch.
func (p planner) gone(ctx context.Context, node string, t *transaction) error {
	found, err := p.store.read(ctx, p.client, []string{Key{Kind: KindAlive, Node: node}.String()})
	if err == nil && found[0] != nil {
		err = fmt.Errorf("node %s: %w", node, cluster.ErrAlive)
	}
	t.ifs = append(t.ifs, p.store.absent(node))
	return err
}

// unlaunched makes a transaction depend on a node's launcher not being in touch: what it runs would be hidden, and not be
// replaced.
func (p planner) unlaunched(ctx context.Context, node string, t *transaction) error {
	found, err := p.store.read(ctx, p.client, []string{Key{Kind: KindLauncher, Node: node}.String()})
	if err == nil && found[0] != nil {
		err = fmt.Errorf("node %s: %w: drain the node and stop its launcher first", node, cluster.ErrLaunching)
	}
	t.ifs = append(t.ifs, p.store.noLauncher(node))
	return err
}

// forget removes what a node said, and what was said of it.
func (p planner) forget(ctx context.Context, c cluster.ForgetNode) (*transaction, error) {
	t, err := p.set(ctx, Key{Kind: KindNode, Node: c.Node}, nil)
	if err != nil {
		return nil, err
	}
	if !c.Alive {
		if err := p.gone(ctx, c.Node, t); err != nil {
			return nil, err
		}
		if err := p.unlaunched(ctx, c.Node, t); err != nil {
			return nil, err
		}
	}
	t.then = append(t.then, p.store.said(c.Node)...)
	return t, nil
}

// said deletes what a node said and what was said of it, but for what it is.
func (s *Store) said(node string) (then []clientv3.Op) {
	for _, kind := range []Kind{KindHealth, KindDown, KindNodeAdmin, KindApplied, KindRepairs, KindGone} {
		then = append(then, clientv3.OpDelete(s.key(Key{Kind: kind, Node: node})))
	}
	return append(then, clientv3.OpDelete(s.prefix+"net/instances/"+node+"/", clientv3.WithPrefix()),
		s.unlessLaunching(node, clientv3.OpDelete(s.prefix+"ops/status/"+node+"/", clientv3.WithPrefix())))
}

// unlessLaunching deletes what a launcher told, unless one is there: it does not tell the same again.
func (s *Store) unlessLaunching(node string, op clientv3.Op) clientv3.Op {
	return clientv3.OpTxn([]clientv3.Cmp{s.noLauncher(node)}, []clientv3.Op{op}, nil)
}

func (s *Store) noLauncher(node string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.key(Key{Kind: KindLauncher, Node: node})), "=", 0)
}

// forgotten is a node that is gone for good by the leader's doing. An agent that is in touch after all keeps it.
func (s *Store) forgotten(node string) (clientv3.Op, error) {
	op, err := s.placed(Key{Kind: KindNode, Node: node}, nil)
	if err != nil {
		return op, err
	}
	return clientv3.OpTxn([]clientv3.Cmp{s.absent(node)}, append(s.said(node), op), nil), nil
}
