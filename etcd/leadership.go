package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Leadership is what one election gave. It outlives its end harmlessly: nothing is written then.
type Leadership struct {
	store    *Store
	key      string
	revision int64
	end      context.CancelCauseFunc
	writing  sync.Mutex // the numbers of events rise from one transaction to the next
	answered *atomic.Pointer[time.Time]
}

// Answered is when the last beat of the leadership was sent that etcd has answered; there is one in each fifth of the TTL, and in
// each second.
func (l *Leadership) Answered() time.Time { return *l.answered.Load() }

// Write writes decisions in one transaction, which etcd refuses unless this leadership lasts: the comparison is with the
// revision that made the election's key, so neither a pause nor a clock nor a late packet lets a former leader through.
// Events among them are kept with others of their service, the newest cluster.MaxEvents. Refused, it says cluster.ErrNotLeading and ends the leadership. Decisions are whole values: where an answer was
// lost they are sent again, which changes nothing.
func (l *Leadership) Write(ctx context.Context, decisions ...cluster.Decision) (int64, error) {
	const doing = "write what the leader decided"
	if len(decisions) > maxOps/2 {
		return 0, fmt.Errorf("%s: %d decisions are more than %d: write them in parts", doing, len(decisions), maxOps/2)
	}
	var then []clientv3.Op
	var absent, unsaid []clientv3.Cmp
	for _, d := range decisions {
		switch d := d.(type) {
		case cluster.Event:
			continue
		case cluster.AsOf:
			unsaid = append(unsaid, l.store.unsaid(d)...)
			continue
		}
		op, err := l.store.decided(d)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", doing, err)
		}
		then = append(then, op)
		if down, ok := d.(cluster.SetDown); ok && down.Down != nil {
			absent = append(absent, l.store.absent(down.Node))
		}
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	events, err := l.noted(ctx, decisions)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	write := clientv3.OpTxn(unsaid, []clientv3.Op{clientv3.OpTxn(absent, append(then, events...), nil)}, nil)
	return l.commit(ctx, doing, write)
}

// unsaid says that nothing was said since what a decision knows of.
func (s *Store) unsaid(d cluster.AsOf) []clientv3.Cmp {
	out := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.key(Key{Kind: KindConfig})), "<", d.Config+1)}
	if d.Scaled != 0 {
		out = append(out, clientv3.Compare(clientv3.ModRevision(s.prefix+head(layouts[KindScale])+"/"), "<", d.Scaled+1).WithPrefix())
	}
	return out
}

// absent says that a node's agent is not in touch. In the transaction, since the agent that comes back takes the node's
// end back once, when it registers: written after that, it would stay.
func (s *Store) absent(node string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.key(Key{Kind: KindAlive, Node: node})), "=", 0)
}

// commit writes if the leadership lasts and the conditions hold. Those are asked further down, each kind on a level of its own,
// so that who was late is told apart from who lost the election.
func (l *Leadership) commit(ctx context.Context, doing string, write clientv3.Op) (revision int64, err error) {
	leading := clientv3.Compare(clientv3.CreateRevision(l.key), "=", l.revision)
	err = l.store.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Txn(ctx).If(leading).Then(write).Commit()
		switch {
		case err != nil:
			return err
		case !r.Succeeded:
			return cluster.ErrNotLeading
		}
		revision = r.Header.Revision
		l.store.horizon.note(revision)
		said := r.Responses[0].GetResponseTxn()
		switch {
		case !said.Succeeded:
			return cluster.ErrStale
		case !said.Responses[0].GetResponseTxn().Succeeded:
			return cluster.ErrAlive
		}
		return nil
	})
	if errors.Is(err, cluster.ErrNotLeading) {
		l.end(err)
	}
	return revision, err
}

// decided lays out one decision.
func (s *Store) decided(d cluster.Decision) (clientv3.Op, error) {
	switch d := d.(type) {
	case cluster.SetWeights:
		return s.speaks(Key{Kind: KindWeights, Service: d.Service}, present(d.Weights))
	case cluster.SetCalled:
		return s.speaks(Key{Kind: KindCalled, Service: d.Service}, present(d.Called))
	case cluster.SetDown:
		return s.placed(Key{Kind: KindDown, Node: d.Node}, present(d.Down))
	case cluster.SetSecret:
		return s.secret(d)
	case cluster.SetGone:
		return s.placed(Key{Kind: KindGone, Node: d.Node}, present(d.Gone))
	}
	return s.launching(d)
}

// speaks puts what is said of a service, or deletes it for nil. The service may have been withdrawn since the leader looked,
// and what was said of it would wait for the next one of that name.
func (s *Store) speaks(key Key, v any) (clientv3.Op, error) {
	op, err := s.placed(key, v)
	if err != nil || v == nil {
		return op, err
	}
	there := clientv3.Compare(clientv3.CreateRevision(s.key(Key{Kind: KindService, Service: key.Service})), ">", 0)
	return clientv3.OpTxn([]clientv3.Cmp{there}, []clientv3.Op{op}, nil), nil
}

// placed puts one key, or deletes it for nil.
func (s *Store) placed(key Key, v any) (clientv3.Op, error) {
	if err := key.Valid(); err != nil {
		return clientv3.Op{}, err
	}
	if v == nil {
		return clientv3.OpDelete(s.key(key)), nil
	}
	value, err := readable(key, v)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpPut(s.key(key), string(value)), nil
}
