package leader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/controlcenter/leader/watchman"
	"github.com/weir-lb/weir/loadmon"
)

// Store is what the leader needs of etcd.
type Store interface {
	// Snapshot reads the present state.
	Snapshot(ctx context.Context) (*cluster.Snapshot, error)

	// Watch delivers a snapshot of each state, until the context ends.
	Watch(ctx context.Context, deliver func(*cluster.Snapshot)) error

	// Lead stands for election until the context ends; while elected it runs lead, whose context ends with the leadership.
	Lead(ctx context.Context, name string, lease time.Duration, lead func(context.Context, Writer) error) error

	watchman.Store // which nodes are alive, and what a leader before made of those that are gone

	// WatchOperations tells fn what nodes and launchers say, until the context ends.
	WatchOperations(ctx context.Context, fn func(*cluster.Operations)) error

	// Secret is the token that load monitors ask for, "" where there is none yet.
	Secret(ctx context.Context) (string, error)
}

// Writer writes decisions in one transaction. It refuses with cluster.ErrNotLeading once the leadership that it belongs to
// has ended.
type Writer = watchman.Writer

// Loads asks one node's load monitor. Problems are what could not be read of an answer.
type Loads interface {
	Loads(ctx context.Context, node string, n *cluster.Node) (loadmon.Report, []cluster.Problem, error)
}

// Config is what a leader needs.
type Config struct {
	Name     string        // who leads, in events and for people who look
	Interval time.Duration // from one round to the next; 0: loadmon.Interval. Shorter: more load, not faster than the monitors sample
	Lease    time.Duration // a leader that is silent for so long is replaced; 0: 5 s. Shorter: sooner replaced, also by a hiccup
	Store    Store
	Loads    Loads
	Looker   watchman.Looker // has nodes look at others; nil: no node is declared down
	Logger   *slog.Logger    // nil: none
	Metrics  *Metrics        // nil: none
}

// Validate reports every mistake.
func (c Config) Validate() error {
	var errs []error
	if why := cluster.ValidName(c.Name); why != "" {
		errs = append(errs, fmt.Errorf("name: %s", why))
	}
	if c.Interval < 0 || c.Interval > 0 && c.Interval < minInterval || c.Interval > maxInterval {
		errs = append(errs, fmt.Errorf("interval %s is outside %s..%s: older figures than 15s do not count", c.Interval, minInterval, maxInterval))
	}
	if c.Lease < 0 || c.Lease > 0 && c.Lease < minLease || c.Lease > maxLease {
		errs = append(errs, fmt.Errorf("lease %s is outside %s..%s", c.Lease, minLease, maxLease))
	}
	return errors.Join(errs...)
}

const (
	minInterval = 100 * time.Millisecond
	maxInterval = 10 * time.Second
	minLease    = 2 * time.Second // etcd grants no less
	maxLease    = 5 * time.Minute
)

// Leader stands for election, and leads while elected.
type Leader struct {
	config  Config
	log     *slog.Logger
	metrics *Metrics

	mu       sync.Mutex
	snapshot *cluster.Snapshot // the newest that the watch delivered
	term     *term             // nil: it does not lead
	until    time.Time         // when its last term ended; zero: it had none
	foreman  *foreman.Foreman
	heard    map[string]map[string]loadmon.Measured // what load monitors said in the last round
	hosts    map[string]foreman.Host                // and of the nodes
	round    *roundReport                           // the last one of this leadership, nil before
	watchman *watchman.Watchman                     // of this leadership; nil: none
	rounding time.Time                              // when the present one began or wrote last; zero: none is under way
}

// New checks the configuration; nothing runs before Run.
func New(c Config) (*Leader, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Interval = cmp.Or(c.Interval, loadmon.Interval)
	c.Lease = cmp.Or(c.Lease, 5*time.Second)
	l := &Leader{config: c, log: c.Logger, metrics: c.Metrics}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.metrics == nil {
		l.metrics = NewMetrics(nil)
	}
	return l, nil
}

// Run watches, stands for election and leads until the context ends, and returns nil then.
func (l *Leader) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.config.Store.Watch(ctx, l.deliver) })
	g.Go(func() error { return l.config.Store.Lead(ctx, l.config.Name, l.config.Lease, l.lead) })
	return g.Wait()
}

func (l *Leader) deliver(s *cluster.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot != nil && s.Revision < l.snapshot.Revision && l.term != nil {
		l.term.base = nil // another life of the store: what was read of the one before says nothing
	}
	l.snapshot = s
}

// Snapshot is the newest that is known, nil before the first.
func (l *Leader) Snapshot() *cluster.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest()
}

// newest is of a leader at least the state that it read when it was elected: its watch may not have come so far, and
// nothing that the leader before wrote may be missed.
func (l *Leader) newest() *cluster.Snapshot {
	if l.term == nil || l.term.base == nil {
		return l.snapshot
	}
	if l.snapshot == nil || l.snapshot.Revision < l.term.base.Revision {
		return l.term.base
	}
	l.term.base = nil
	return l.snapshot
}

// hostLoads is what load monitors said of their nodes in the last round.
func (l *Leader) hostLoads() map[string]foreman.Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts
}

// measured is what load monitors said in the last round.
func (l *Leader) measured() map[string]map[string]loadmon.Measured {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}
