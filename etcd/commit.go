package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// attempts bounds how often a commit that lost a race is planned again.
const attempts = 5

// Commit writes one change in one transaction and returns the revision that it has. It refuses with
// *cluster.TakenError, cluster.ErrConflict, cluster.ErrUnreachable or cluster.ErrDenied; errors.Is and errors.As tell.
// When the answer is lost it looks whether the change arrived before it tries again, so it never happens twice. Only
// when etcd stays away the error says that the outcome is not known: then committing the same change again is safe.
func (s *Store) Commit(ctx context.Context, change cluster.Change) (int64, error) {
	c := commit{store: s, change: change, doing: describe(change)}
	for range attempts {
		revision, done, err := c.try(ctx)
		if done {
			return revision, explain(c.doing, err)
		}
	}
	return 0, fmt.Errorf("%s: %w, %d times in a row: try again", c.doing, cluster.ErrConflict, attempts)
}

type commit struct {
	store   *Store
	change  cluster.Change
	doing   string
	pending *transaction // sent, without an answer
}

// try plans and sends once. It is done with a revision or an error, or it asks to be called again.
func (c *commit) try(ctx context.Context) (revision int64, done bool, err error) {
	t, err := c.store.plan(ctx, c.change)
	if err != nil {
		if c.pending != nil && !lost(err) && !errors.Is(err, cluster.ErrUnreachable) {
			return c.settle(ctx, err)
		}
		return 0, true, c.unknown(err)
	}
	var r *clientv3.TxnResponse
	err = c.store.once(ctx, func(ctx context.Context, client *clientv3.Client) (err error) {
		r, err = client.Txn(ctx).If(t.ifs...).Then(t.then...).Commit()
		return err
	})
	switch {
	case err == nil && r.Succeeded:
		return r.Header.Revision, true, nil
	case err == nil && c.pending != nil:
		return c.settle(ctx, nil)
	case err == nil:
		return 0, false, nil // planning again finds out who was faster
	case ctx.Err() != nil || lost(err):
		c.pending = t
		return c.settle(ctx, err)
	}
	return 0, true, err
}

// settle finds out what became of a transaction whose answer was lost. The compare in it lets at most one of several
// sendings through, so sending it again is harmless as long as its subject is untouched.
func (c *commit) settle(ctx context.Context, cause error) (int64, bool, error) {
	// The caller's time may be over, but the caller still has to be told.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	subject, barrier, err := c.store.look(look, c.pending.subject)
	switch {
	case err != nil:
		return 0, true, c.unknown(errors.Join(cause, err))
	case c.pending.happened(subject):
		if subject == nil {
			return modded(barrier), true, nil // moved in the same transaction, or later
		}
		return modded(subject), true, nil
	case modded(subject) != c.pending.planned:
		return 0, true, fmt.Errorf("%w, while the answer to this change was lost: look at it and try again", cluster.ErrConflict)
	case ctx.Err() != nil:
		return 0, true, fmt.Errorf("%w: %w: nothing was written so far: run it again", cluster.ErrUnreachable, ctx.Err())
	}
	return 0, false, nil
}

// unknown adds to an error that a transaction may have been applied.
func (c *commit) unknown(err error) error {
	if c.pending == nil {
		return err
	}
	return fmt.Errorf("%w: %w: it is not known whether it was written: run it again, that cannot do it twice", cluster.ErrUnreachable, err)
}

// look reads the subject of a transaction and the barrier.
func (s *Store) look(ctx context.Context, subject string) (*mvccpb.KeyValue, *mvccpb.KeyValue, error) {
	var found []*mvccpb.KeyValue
	err := s.do(ctx, "look what became of it", func(ctx context.Context, client *clientv3.Client) (err error) {
		found, err = s.read(ctx, client, []string{subject, barrierKey})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return found[0], found[1], nil
}

// read gets several keys at one revision; nil where there is none.
func (s *Store) read(ctx context.Context, c *clientv3.Client, keys []string) ([]*mvccpb.KeyValue, error) {
	gets := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		gets[i] = clientv3.OpGet(s.prefix + key)
	}
	r, err := c.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	s.horizon.note(r.Header.Revision)
	out := make([]*mvccpb.KeyValue, len(keys))
	for i, response := range r.Responses {
		if kvs := response.GetResponseRange().Kvs; len(kvs) > 0 {
			out[i] = kvs[0]
		}
	}
	return out, nil
}

// transaction is a change, planned on what was read.
type transaction struct {
	subject string // the key that tells whether it happened
	planned int64  // its mod revision when it was planned; 0: it was not there
	value   []byte // what it holds afterwards; nil: it is gone
	ifs     []clientv3.Cmp
	then    []clientv3.Op
}

func (t *transaction) happened(subject *mvccpb.KeyValue) bool {
	if subject == nil {
		return t.value == nil
	}
	return subject.ModRevision != t.planned && bytes.Equal(subject.Value, t.value)
}

func modded(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}
