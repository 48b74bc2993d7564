package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Operations reads once what WatchOperations follows.
func (s *Store) Operations(ctx context.Context) (*cluster.Operations, error) {
	var out *cluster.Operations
	o := &operations{store: s, fn: func(told *cluster.Operations) { out = told }}
	m := o.mirror()
	err := s.do(ctx, "read what nodes tell", func(ctx context.Context, c *clientv3.Client) error {
		revision, err := m.list(ctx, c)
		if err == nil {
			m.tell(revision)
		}
		return err
	})
	return out, err
}
