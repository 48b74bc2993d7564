package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Operations reads once what WatchOperations follows, at one revision and without what that leaves out: events may be many, and
// who looks may not read everything. Nor does it read Crashes, which nobody needs but the leader.
func (s *Store) Operations(ctx context.Context) (*cluster.Operations, error) {
	var out *cluster.Operations
	o := &operations{store: s, fn: func(told *cluster.Operations) { out = told }}
	m := o.mirror()
	err := s.do(ctx, "read what nodes tell", func(ctx context.Context, c *clientv3.Client) error {
		var gets []clientv3.Op
		for _, kind := range operationKinds {
			gets = append(gets, clientv3.OpGet(s.prefix+head(layouts[kind])+"/", clientv3.WithPrefix()))
		}
		r, err := c.Txn(ctx).Then(gets...).Commit()
		if err != nil {
			return err
		}
		m.clear()
		for _, answer := range r.Responses {
			for _, kv := range answer.GetResponseRange().Kvs {
				if k, err := m.key(kv); err == nil {
					m.put(k, kv)
				}
			}
		}
		m.tell(r.Header.Revision)
		return nil
	})
	return out, err
}

// operationKinds are those that decodeOperation reads, and that every role may.
var operationKinds = []Kind{KindAlive, KindApplied, KindLauncher, KindAssign, KindStatus, KindPort, KindWake, KindMoved, KindScale}
