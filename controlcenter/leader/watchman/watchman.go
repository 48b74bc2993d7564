package watchman

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// Store is what the watchman reads of etcd.
type Store interface {
	// WatchApplied tells fn which nodes are alive, at once and at each change, until fn is done or the context ends.
	WatchApplied(ctx context.Context, fn func(alive map[string]bool, applied map[string]cluster.Applied) (done bool)) error

	// Gone is what a leader before recorded.
	Gone(ctx context.Context) (map[string]cluster.Gone, error)
}

// Writer writes decisions of one leadership.
type Writer interface {
	Write(ctx context.Context, decisions ...cluster.Decision) (int64, error)

	// Answered is when the last question that etcd answered was sent; there is one at least every 2 s.
	Answered() time.Time
}

// Config is what a watchman needs.
type Config struct {
	Name     string // of the control center: events tell it
	Store    Store
	Writer   Writer
	Looker   Looker
	Snapshot func() *cluster.Snapshot // the newest; nil: none yet
	Metrics  *Metrics                 // nil: none
	Logger   *slog.Logger             // nil: none
}

// Watchman looks after the nodes during one leadership.
type Watchman struct {
	config   Config
	log      *slog.Logger
	metrics  *Metrics
	runner   *runner.Runner
	looks    *errgroup.Group // those under way
	state    State           // of the loop alone, as the two below
	hosts    hosts
	recorded map[string]cluster.Gone // as it stands in etcd; nil: not read yet

	mu     sync.Mutex
	alive  map[string]bool // nil: not told yet
	looked []Looked
	report Report
}

// New makes one for one leadership; nothing runs before Run.
func New(c Config) *Watchman {
	w := &Watchman{config: c, log: c.Logger, metrics: c.Metrics, looks: &errgroup.Group{}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.metrics == nil {
		w.metrics = NewMetrics(nil)
	}
	w.runner = runner.New(w.step, runner.Options{Min: minPause, Max: maxPause, Failed: func(err error, retry time.Duration) {
		w.log.Warn("cannot look after the nodes", "err", err, "retry", retry)
	}})
	return w
}

const (
	minPause = 50 * time.Millisecond
	maxPause = 500 * time.Millisecond // time passes without anybody telling
)

// Run blocks until the context, and with it the leadership, ends, and returns nil then.
func (w *Watchman) Run(ctx context.Context) error {
	defer w.metrics.ended()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.runner.Run(ctx) })
	g.Go(func() error {
		err := w.config.Store.WatchApplied(ctx, w.hear)
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	err := g.Wait()
	_ = w.looks.Wait() // they end with the context, and have no errors
	return err
}

func (w *Watchman) hear(alive map[string]bool, _ map[string]cluster.Applied) bool {
	w.mu.Lock()
	same := w.alive != nil && maps.Equal(w.alive, alive)
	w.alive = alive
	w.mu.Unlock()
	if !same { // what nodes have applied is told by the same watch, and much more often
		w.runner.Kick()
	}
	return false
}

// step decides once, and does what was decided.
func (w *Watchman) step(ctx context.Context) error {
	s := w.config.Snapshot()
	in, ready := w.sight()
	if s == nil || !ready {
		return nil
	}
	if w.recorded == nil {
		recorded, err := w.config.Store.Gone(ctx)
		if err != nil {
			return err
		}
		w.recorded = recorded
	}
	w.hosts.follow(s)
	in.Nodes, in.Recorded = w.hosts.nodes(), w.recorded
	in.Paused = s.Config != nil && s.Config.Paused
	in.Now, in.Answered = time.Now(), w.config.Writer.Answered()
	var o Orders
	w.state, o = Decide(w.state, in)
	w.tell(in, o)
	for _, l := range o.Looks {
		addresses := some(w.hosts.addresses(l.Node), l.Number)
		w.looks.Go(func() error {
			w.finish(w.look(ctx, l, s, addresses))
			return nil
		})
	}
	return w.write(ctx, o, cluster.AsOf{Config: s.Configured})
}

// sight is what others have told so far; false while nothing is known of who is alive.
func (w *Watchman) sight() (in Sight, ready bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in.Alive, in.Looked, w.looked = w.alive, w.looked, nil
	return in, w.alive != nil
}

// finish hands the outcome of a look to the loop.
func (w *Watchman) finish(l Looked) {
	w.metrics.looked(l)
	w.mu.Lock()
	w.looked = append(w.looked, l)
	w.mu.Unlock()
	w.runner.Kick()
}

// lost says that nothing more can be written in this leadership.
func lost(err error) bool { return errors.Is(err, cluster.ErrNotLeading) }
