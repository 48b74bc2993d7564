package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// FollowEvents tells fn of the events of a service, or of all for "": at first of all that are kept, then of new ones,
// the oldest first and none twice, until the context ends; then it returns nil.
func (s *Store) FollowEvents(ctx context.Context, service string, fn func([]cluster.Event)) error {
	f := &follower{store: s, service: service, fn: fn}
	var b backoff
	for ctx.Err() == nil {
		err := f.session(ctx, &b)
		if errors.Is(err, cluster.ErrDenied) {
			return fmt.Errorf("follow the events: %w", err) // asking again would not help
		}
		if ctx.Err() == nil {
			s.log.Debug("following the events was interrupted", "err", err)
			b.wait(ctx)
		}
	}
	return nil
}

type follower struct {
	store   *Store
	service string
	fn      func([]cluster.Event)
	listed  bool
	last    int64 // everything that was written up to this revision has been told
}

// session lists, which also makes up for what was missed, and follows one member until that fails.
func (f *follower) session(ctx context.Context, b *backoff) (err error) {
	l, err := f.store.members.link()
	if err != nil {
		return explain("connect", err)
	}
	defer func() {
		if err != nil && ctx.Err() == nil && lost(err) {
			f.store.members.turn(l)
		}
		err = explain("follow the events", err)
	}()
	limited, cancel := context.WithTimeout(ctx, patience)
	events, revision, err := f.store.listEvents(limited, l.client, f.service)
	cancel()
	if err != nil {
		return err
	}
	b.reset()
	if revision < f.last {
		f.last = 0 // the store was wiped or restored, and counts anew
	}
	f.tell(events, revision)
	return f.follow(ctx, l, revision)
}

func (f *follower) follow(ctx context.Context, l *link, revision int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	answers := l.client.Watch(ctx, f.store.prefix+eventPrefix(f.service), clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithFilterDelete())
	for r := range answers {
		if err := r.Err(); err != nil {
			return err
		}
		var events []keptEvent
		for _, e := range r.Events {
			events = append(events, f.store.event(e.Kv)...)
		}
		f.tell(events, f.last)
	}
	return errTurned
}

// tell passes on what is new.
func (f *follower) tell(events []keptEvent, upTo int64) {
	fresh := slices.DeleteFunc(events, func(e keptEvent) bool { return e.modded <= f.last })
	f.last = max(f.last, upTo)
	for _, e := range fresh {
		f.last = max(f.last, e.modded)
	}
	if len(fresh) > 0 || !f.listed {
		f.listed = true
		f.fn(inOrder(fresh))
	}
}
