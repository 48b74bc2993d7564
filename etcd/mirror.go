package etcd

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// mirror keeps a copy of a span of keys: it lists them, follows them, and tells whenever one changed. One goroutine runs
// it. Keys that cannot be read as such are left out.
type mirror struct {
	store    *Store
	doing    string // for errors
	from, to string
	clear    func()
	put      func(Key, *mvccpb.KeyValue)
	remove   func(Key)
	tell     func(revision int64) (done bool)
}

// run goes on until the context ends, and returns nil then; an error where it may not look: asking again would not help.
func (m *mirror) run(ctx context.Context) error {
	var b backoff
	for ctx.Err() == nil {
		_, err := m.session(ctx, &b)
		if errors.Is(err, cluster.ErrDenied) {
			return err
		}
		if ctx.Err() == nil {
			m.store.log.Debug("interrupted", "doing", m.doing, "err", err)
			b.wait(ctx)
		}
	}
	return nil
}

// session lists and follows through one member until somebody is done or that fails.
func (m *mirror) session(ctx context.Context, b *backoff) (done bool, err error) {
	l, err := m.store.members.link()
	if err != nil {
		return false, explain("connect", err)
	}
	defer func() {
		if err != nil && ctx.Err() == nil && lost(err) {
			m.store.members.turn(l)
		}
		err = explain(m.doing, err)
	}()
	revision, err := m.list(ctx, l.client)
	if err != nil {
		return false, err
	}
	b.reset()
	if m.tell(revision) {
		return true, nil
	}
	return m.follow(ctx, l, revision)
}

func (m *mirror) list(ctx context.Context, c *clientv3.Client) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.Get(ctx, m.from, clientv3.WithRange(m.to))
	if err != nil {
		return 0, err
	}
	m.clear()
	for _, kv := range r.Kvs {
		if k, err := m.key(kv); err == nil {
			m.put(k, kv)
		}
	}
	return r.Header.Revision, nil
}

func (m *mirror) key(kv *mvccpb.KeyValue) (Key, error) {
	return ParseKey(strings.TrimPrefix(string(kv.Key), m.store.prefix))
}

func (m *mirror) follow(ctx context.Context, l *link, revision int64) (done bool, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	answers := streamOf(l.client).Watch(ctx, m.from, clientv3.WithRange(m.to), clientv3.WithRev(revision+1), clientv3.WithFragment())
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-l.turned():
			return false, errTurned
		case r, ok := <-answers:
			if !ok {
				return false, errTurned
			}
			if err := r.Err(); err != nil {
				return false, err
			}
			for _, e := range r.Events { // the header may be newer: where much is to be told, it comes in parts
				m.take(e)
				revision = e.Kv.ModRevision
			}
			if m.tell(revision) {
				return true, nil
			}
		}
	}
}

func (m *mirror) take(e *clientv3.Event) {
	k, err := m.key(e.Kv)
	switch {
	case err != nil:
	case e.Type == clientv3.EventTypeDelete:
		m.remove(k)
	default:
		m.put(k, e.Kv)
	}
}
