package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	aliveTTL  = 10 // seconds: two lost beats and a change of member fit in
	aliveBeat = 2 * time.Second
	aliveWait = patience - aliveBeat // for the answer to a beat: a member that froze right after one is left after patience
)

// Presence is the value of ops/alive/<node>.
type Presence struct {
	Since time.Time `json:"since"`
}

// Alive keeps ops/alive/<node> on a lease until the context ends, and returns nil then; the lease is given back, so that
// an orderly stop is seen at once. Each beat is also the probe of the store: a member that has said nothing for 5 s is
// left for the next one, by every watch too; a falling revision makes the watches look again. A lease that
// is gone, by expiry or by hand, is replaced at the next beat.
func (s *Store) Alive(ctx context.Context, node string) error {
	down := clientv3.OpDelete(s.key(Key{Kind: KindDown, Node: node}))
	return s.stay(ctx, Key{Kind: KindAlive, Node: node}, Presence{Since: time.Now().UTC()}, down)
}

// stay keeps a key on a lease; and is done each time that the key is made.
func (s *Store) stay(ctx context.Context, key Key, value any, and ...clientv3.Op) error {
	if err := key.Valid(); err != nil {
		return fmt.Errorf("stay alive as node %s: %w", printable(key.Node), err)
	}
	text, err := encode(value)
	if err != nil {
		return fmt.Errorf("stay alive as node %s: %w", printable(key.Node), err)
	}
	p := &presence{store: s, key: key, value: string(text), and: and}
	for ctx.Err() == nil {
		err := p.session(ctx)
		if ctx.Err() != nil {
			break
		}
		s.log.Debug("presence interrupted", "node", key.Node, "err", err)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			p.lease = clientv3.NoLease
		}
		p.backoff.wait(ctx)
	}
	p.leave()
	return nil
}

type presence struct {
	store   *Store
	key     Key
	value   string
	and     []clientv3.Op
	lease   clientv3.LeaseID
	backoff backoff
}

// session beats through one member until that fails.
func (p *presence) session(ctx context.Context) error {
	l, err := p.store.members.link()
	if err != nil {
		return explain("connect", err)
	}
	if err = p.register(ctx, l.client); err == nil {
		answered := func(time.Time) { p.backoff.reset() }
		err = beats{p.store, p.lease, aliveBeat, aliveWait, answered}.run(ctx, l)
	}
	if err != nil && ctx.Err() == nil && lost(err) {
		p.store.members.turn(l)
	}
	return explain("keep "+p.key.String(), err)
}

// register makes lease and key; a lease that a session before left behind is taken over, so that a change of member
// does not look like an end.
func (p *presence) register(ctx context.Context, c *clientv3.Client) error {
	if p.lease != clientv3.NoLease {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lease, err := c.Grant(ctx, aliveTTL)
	if err != nil {
		return err
	}
	put := clientv3.OpPut(p.store.key(p.key), p.value, clientv3.WithLease(lease.ID))
	_, err = c.Txn(ctx).Then(append([]clientv3.Op{put}, p.and...)...).Commit()
	if err != nil {
		return err // the lease runs out by itself
	}
	p.lease = lease.ID
	return nil
}

// leave gives the lease back.
func (p *presence) leave() {
	if err := p.store.giveBack(p.lease); err != nil {
		p.store.log.Debug("the lease is left to run out", "node", p.key.Node, "err", err)
	}
}

// giveBack ends a lease, and with it its key. The caller's context is over by then.
func (s *Store) giveBack(lease clientv3.LeaseID) error {
	if lease == clientv3.NoLease {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l, err := s.members.link()
	if err == nil {
		_, err = l.client.Revoke(ctx, lease)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}
