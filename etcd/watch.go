package etcd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// WatchOptions tune a watch. The zero value is right for an agent.
type WatchOptions struct {
	Spread time.Duration     // how long, at most, a list after a compaction waits, so that agents do not list at once; 0: 2 s
	Every  time.Duration     // list anyway after this time, give or take half; 0: 30 min. It repairs what no event told
	Last   *cluster.Snapshot // what was served before this process, nil: nothing. The first list is judged by it
	Check  time.Duration     // ask, give or take half, whether we still may read and have seen everything; 0: 10 s
	Probe  time.Duration     // ask etcd after so long a silence; 0: 2 s. Alive's beats count, then nothing else is asked
}

func (o WatchOptions) defaults() WatchOptions {
	if o.Spread <= 0 {
		o.Spread = 2 * time.Second
	}
	if o.Every <= 0 {
		o.Every = 30 * time.Minute
	}
	if o.Check <= 0 {
		o.Check = 10 * time.Second
	}
	if o.Probe <= 0 {
		o.Probe = 2 * time.Second
	}
	return o
}

// Watch lists net/, then follows it, and delivers a snapshot of each state that it learns; what arrives together is
// delivered once, as the newest. deliver is called from one goroutine and should return soon. Watch runs until the
// context ends, and returns nil then: while etcd is away it tries again, with growing pauses of at most 7.5 s.
func (s *Store) Watch(ctx context.Context, o WatchOptions, deliver func(*cluster.Snapshot)) error {
	w := &watcher{store: s, options: o.defaults(), deliver: deliver, view: newView(), list: true}
	w.view.past, w.options.Last = o.Last, nil
	for ctx.Err() == nil {
		err := w.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			w.backoff.reset()
			continue
		}
		s.status.away(err)
		s.log.Debug("watch interrupted", "err", err)
		w.backoff.wait(ctx)
	}
	s.status.away(context.Canceled)
	return nil
}

type watcher struct {
	store   *Store
	options WatchOptions
	deliver func(*cluster.Snapshot)
	view    *view
	backoff backoff
	list    bool // the next session begins with a list
	lists   int
	seen    atomic.Int64 // view.revision, for the probe
}

// errRelist ends a session whose successor shall list; it is not a failure.
var errRelist = errors.New("list again")

// session lists if that is due and follows one member until there is a reason to begin anew. It returns nil when the
// reason is not a failure.
func (w *watcher) session(ctx context.Context) error {
	l, err := w.store.members.link()
	if err != nil {
		return explain("connect", err)
	}
	fall := w.store.horizon.fall()
	if err = w.begin(ctx, l); err == nil {
		w.store.status.connected(l.endpoint)
		err = w.follow(ctx, l, fall)
	}
	switch {
	case errors.Is(err, errRelist):
		w.list = true
		return nil
	case IsCompacted(err):
		w.list = true
		sleep(ctx, time.Duration(float64(w.options.Spread)*fraction()))
		return nil
	case err != nil && lost(err):
		w.store.members.turn(l)
	}
	return explain("watch "+w.store.prefix+netKeys, err)
}

// begin makes sure that the member answers and that the store is still the one that was seen, and lists if due.
func (w *watcher) begin(ctx context.Context, l *link) error {
	if !w.list {
		lower, err := w.lower(ctx, l)
		if err != nil {
			return err
		}
		w.list = lower
	}
	if !w.list {
		return nil
	}
	listing, err := w.store.list(ctx, l.client)
	if err != nil {
		return err
	}
	w.view.list(listing)
	w.list = false
	w.lists++
	w.store.status.set(func(st *Status) { st.Relists = w.lists - 1 })
	w.seal()
	return nil
}

// lower asks for the revision of the store in a way that no lagging member can answer.
func (w *watcher) lower(ctx context.Context, l *link) (bool, error) {
	revision, _, err := w.store.revision(ctx, l.client)
	return revision < w.view.revision, err
}

func (w *watcher) seal() {
	snapshot := w.view.snapshot()
	w.store.status.set(func(st *Status) { st.Revision = snapshot.Revision })
	w.seen.Store(w.view.revision)
	w.deliver(snapshot)
}

// follow takes events until something else is due.
func (w *watcher) follow(ctx context.Context, l *link, fall <-chan struct{}) error {
	ctx, end := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	var probing sync.WaitGroup
	defer probing.Wait()
	defer end(nil)
	probing.Go(func() { end(w.probe(ctx, l)) })

	// Not in fragments: etcd measures the whole fragment again for each event that it adds, which takes minutes for a hundred
	// thousand, and the client joins them anyway.
	events := streamOf(l.client).Watch(ctx, w.store.prefix+netKeys, clientv3.WithPrefix(), clientv3.WithRev(w.view.revision+1),
		clientv3.WithCreatedNotify())
	every := time.NewTimer(jitter(w.options.Every))
	defer every.Stop()
	for {
		release, stop := w.releaseTimer()
		select {
		case <-ctx.Done():
			stop()
			return context.Cause(ctx)
		case <-l.turned():
			stop()
			return errTurned
		case <-fall:
			stop()
			return nil // the next session looks whether it is so
		case <-every.C:
			stop()
			return errRelist
		case <-release:
			return errRelist
		case r, ok := <-events:
			stop()
			if err := w.take(l, r, ok); err != nil {
				return err
			}
		}
	}
}

// streamOf is a stream for one watch: on one shared with other watches the client mixes up fragments. It ends with its watch,
// so with the watch's context, and must not be closed: Close waits for ever when it meets etcd's refusal of the watch.
func streamOf(c *clientv3.Client) clientv3.Watcher { return clientv3.NewWatcher(c) }

// releaseTimer fires when deletions have been held back for long enough to look again.
func (w *watcher) releaseTimer() (<-chan time.Time, func()) {
	if !w.view.hold.active() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(w.view.hold.due()))
	return t.C, func() { t.Stop() }
}

// take applies one response. Whole transactions arrive in it: etcd cuts between revisions only.
func (w *watcher) take(l *link, r clientv3.WatchResponse, ok bool) error {
	if !ok {
		return errTurned
	}
	if err := r.Err(); err != nil {
		return kindOf(err)
	}
	if r.Created {
		w.backoff.reset()
	}
	if len(r.Events) == 0 {
		return nil
	}
	w.store.horizon.reach(r.Events[len(r.Events)-1].Kv.ModRevision)
	w.view.events(w.store.convert(r.Events))
	w.seal()
	return nil
}

func (s *Store) convert(events []*clientv3.Event) []event {
	out := make([]event, len(events))
	for i, e := range events {
		out[i] = event{s.entry(e.Kv), e.Type == clientv3.EventTypeDelete}
	}
	return out
}
