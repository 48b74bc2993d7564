package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/controlcenter/leader/watchman"
)

// term is one leadership: what its loops share. It ends with its context.
type term struct {
	*Leader
	writer Writer
	lost   context.CancelCauseFunc // ends all loops
	since  time.Time
	base   *cluster.Snapshot // read after the election
}

// lead runs everything that only the leader does, each in a loop of its own. Where one of them ends with an error all do,
// and the leadership is given back.
func (l *Leader) lead(ctx context.Context, w Writer) error {
	base, err := l.config.Store.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("begin to lead: %w", err)
	}
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	t := &term{Leader: l, writer: w, lost: lost, since: time.Now(), base: base}
	loops := []func(context.Context) error{newBalance(t).run}
	var nodes *watchman.Watchman
	if l.config.Looker != nil {
		nodes = watchman.New(watchman.Config{
			Name: l.config.Name, Store: l.config.Store, Writer: t, Looker: l.config.Looker, Snapshot: l.Snapshot,
			Metrics: l.metrics.watchman, Logger: l.log,
		})
		loops = append(loops, nodes.Run)
	}
	hands := foreman.New(foreman.Config{
		Name: l.config.Name, Store: l.config.Store, Writer: t, Snapshot: l.Snapshot, Measured: l.measured, Hosts: l.hostLoads, Interval: l.config.Interval, Logger: l.log,
	})
	loops = append(loops, hands.Run)
	l.begin(t, nodes, hands)
	defer l.end()
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range loops {
		g.Go(func() error { return loop(ctx) })
	}
	return g.Wait()
}

func (l *Leader) begin(t *term, nodes *watchman.Watchman, hands *foreman.Foreman) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.watchman, l.foreman = t, nodes, hands
	l.round = nil
	l.metrics.leading.Set(1)
}

func (l *Leader) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.watchman, l.foreman = nil, nil, nil
	l.until = time.Now().UTC()
	l.heard, l.hosts = nil, nil
	l.round = nil
	l.metrics.ended()
}

// Write writes decisions for this leadership, and counts them. Refused since it has ended, it ends all loops.
func (t *term) Write(ctx context.Context, decisions ...cluster.Decision) (int64, error) {
	revision, err := t.writer.Write(ctx, decisions...)
	t.metrics.wrote(err)
	if errors.Is(err, cluster.ErrNotLeading) {
		t.lost(err)
	}
	return revision, err
}

// Answered is when etcd last answered this leadership.
func (t *term) Answered() time.Time { return t.writer.Answered() }

// paused says whether an operator stopped all automatic decisions.
func paused(s *cluster.Snapshot) bool { return s.Config != nil && s.Config.Paused }
