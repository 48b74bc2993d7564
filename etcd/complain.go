package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// ComplaintTTL is how long a complaint outlives a load monitor that was killed. A Complainer has to be asked anew within it.
const ComplaintTTL = time.Minute

// Complainer keeps ops/loadmons/<node>, on a lease: what a process complained of is not true for ever when it is gone. There is
// a lease only while there is something to complain of. One goroutine uses it.
type Complainer struct {
	store *Store
	key   Key
	lease clientv3.LeaseID
}

// Complainer makes the one of a node.
func (s *Store) Complainer(node string) *Complainer {
	return &Complainer{store: s, key: Key{Kind: KindLoadmon, Node: node}}
}

// Tell writes what a load monitor complains of, or renews the lease where the key says that already; where it complains of nothing
// the key goes. It says whether it had to write.
func (c *Complainer) Tell(ctx context.Context, l cluster.Loadmon) (wrote bool, err error) {
	doing := "tell what the load monitor of node " + printable(c.key.Node) + " complains of"
	if err := c.key.Valid(); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	value, err := encode(l)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	err = c.store.do(ctx, doing, func(ctx context.Context, to *clientv3.Client) error {
		found, err := c.store.read(ctx, to, []string{c.key.String()})
		if err != nil {
			return err
		}
		key := c.store.key(c.key)
		if len(l.Problems) == 0 {
			if found[0] == nil {
				return nil
			}
			_, err = to.Delete(ctx, key)
		} else {
			if err = c.hold(ctx, to); err != nil {
				return err
			}
			// What a process before left goes with the lease of that one.
			if found[0] != nil && bytes.Equal(found[0].Value, value) && clientv3.LeaseID(found[0].Lease) == c.lease {
				return nil
			}
			_, err = to.Put(ctx, key, string(value), clientv3.WithLease(c.lease))
		}
		wrote = wrote || err == nil
		return err
	})
	return wrote, err
}

// hold renews the lease, or gets one.
func (c *Complainer) hold(ctx context.Context, to *clientv3.Client) error {
	if c.lease != clientv3.NoLease {
		if err := renew(ctx, to, c.lease); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		c.lease = clientv3.NoLease
	}
	granted, err := to.Grant(ctx, int64(ComplaintTTL/time.Second))
	if err == nil {
		c.lease = granted.ID
	}
	return err
}

// renew is one beat on a stream of its own.
func renew(ctx context.Context, to *clientv3.Client, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewLeaseClient(to.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return rpctypes.Error(err)
	}
	_, err = beat(stream, lease)
	return err
}

// End takes back what was told. Where etcd does not answer, the lease runs out.
func (c *Complainer) End() {
	if err := c.store.giveBack(c.lease); err != nil {
		c.store.log.Debug("what the load monitor complained of is left to run out", "node", c.key.Node, "err", err)
	}
	c.lease = clientv3.NoLease
}

// Loadmons are what load monitors complain of that are processes of their own, by node. Values that cannot be read are left out.
func (s *Store) Loadmons(ctx context.Context) (map[string]cluster.Loadmon, error) {
	return reports[cluster.Loadmon](ctx, s, "read what load monitors complain of", "ops/loadmons/")
}
