package monitor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/sample"
)

// Sampler measures this node's instances.
type Sampler interface {
	Sample(ctx context.Context, locals []loadmon.Local, now time.Time) (loadmon.Report, error)
}

// Asker asks instances for their own figures.
type Asker interface {
	// Want says whom to ask from now on.
	Want(s *cluster.Snapshot)
	// Run asks until the context ends, and returns nil then.
	Run(ctx context.Context) error
	// Add puts the figures into the loads.
	Add(loads []loadmon.Load, now time.Time)
	// Asked is how many connections that cost each instance, and where.
	Asked() map[sample.ID]sample.Questions
}

// nobody is asked.
type nobody struct{}

func (nobody) Want(*cluster.Snapshot)                {}
func (nobody) Run(ctx context.Context) error         { <-ctx.Done(); return nil }
func (nobody) Add([]loadmon.Load, time.Time)         {}
func (nobody) Asked() map[sample.ID]sample.Questions { return nil }

// Store is what a monitor needs of etcd.
type Store interface {
	// Secret is the token that askers have to know; "" while there is none.
	Secret(ctx context.Context) (string, error)
	// Health tells what is wrong with instances, and whether that was news.
	Health(ctx context.Context, node string, h cluster.NodeHealth) (wrote bool, err error)
}

// Config of a Monitor.
type Config struct {
	Node    string
	Sampler Sampler
	Checker Checker
	Asker   Asker // nil: instances are not asked for their own figures
	Store   Store

	Complainer Complainer               // tells Problems; nil: somebody else does
	Problems   func() []cluster.Problem // what this monitor complains of, sorted; nil: nothing

	See      func(loadmon.Report) // is shown each report; nil: nobody is
	Interval time.Duration        // at which a leader asks. Default loadmon.Interval. Unasked, a sample is taken a fifth later
	Deadline time.Duration        // of one sample. Default 4 s

	Logger  *slog.Logger
	Metrics *Metrics
}

func (c Config) withDefaults() (Config, error) {
	if c.Node == "" || c.Sampler == nil || c.Checker == nil || c.Store == nil {
		return c, errors.New("a load monitor needs a node name, a sampler, a checker and a store")
	}
	if c.Interval <= 0 {
		c.Interval = loadmon.Interval
	}
	if c.Deadline <= 0 {
		c.Deadline = 4 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("node", c.Node)
	if c.Asker == nil {
		c.Asker = nobody{}
	}
	if c.Problems == nil {
		c.Problems = func() []cluster.Problem { return nil }
	}
	if c.See == nil {
		c.See = func(loadmon.Report) {}
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c, nil
}

// Monitor is one node's load monitor.
type Monitor struct {
	c        Config
	sampler  *runner.Runner
	follower *runner.Runner
	verdicts *verdicts
	complain *complaints
	guard    *door.Guard
	looks    chan struct{} // one for each look that is under way

	locals locals // of the sampling goroutine, as is the next
	merged merged

	first   sync.Once
	arrived chan struct{} // closed when the first snapshot is there

	mu       sync.Mutex // guards what follows
	snapshot *cluster.Snapshot
	report   []byte // the newest, as JSON; nil before the first
	sampled  time.Time
	tried    chan struct{} // closed when the next sample has been taken, or has failed
	samples  int
	without  int // instances of adaptive services that the last sample had no figures of
}

// New returns a monitor that does nothing until Run.
func New(c Config) (*Monitor, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Monitor{c: c, guard: door.NewGuard(c.Store.Secret, maxRequests, c.Logger), looks: make(chan struct{}, maxLooks), arrived: make(chan struct{}), tried: make(chan struct{})}
	m.locals.node = c.Node
	m.sampler = runner.New(m.try, runner.Options{Min: c.Interval / 2, Max: c.Interval * 6 / 5, RetryMin: c.Interval, RetryMax: c.Interval, Failed: m.failed("sample")})
	m.follower = runner.New(m.follow, runner.Options{})
	m.verdicts = newVerdicts(c, m.failed("verdicts"))
	m.complain = newComplaints(c, m.failed("complaints"))
	return m, nil
}

// Deliver hands over a newer snapshot. It does not wait for anything.
func (m *Monitor) Deliver(s *cluster.Snapshot) {
	m.mu.Lock()
	m.snapshot = s
	m.mu.Unlock()
	m.first.Do(func() { close(m.arrived) })
	m.follower.Kick()
}

func (m *Monitor) newest() *cluster.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot
}

// Run samples and checks until the context ends, and returns nil then.
func (m *Monitor) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-m.arrived: // before, it is not known whom to look at
	}
	if err := m.follow(ctx); err != nil { // before anything is written: it brings back what was said before
		return err
	}
	m.sampler.Kick()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.sampler.Run(ctx) })
	g.Go(func() error { return m.follower.Run(ctx) })
	g.Go(func() error { return m.verdicts.run(ctx) })
	g.Go(func() error { return m.complain.run(ctx) })
	g.Go(func() error { return m.c.Asker.Run(ctx) })
	return g.Wait()
}

// judgePatience is how long one that comes back is judged at most: a check that hangs must not keep its node out.
const judgePatience = 3 * time.Second

// Judge looks at the node's instances and tells etcd which of them are not well, before anybody is sent to them: for a node that
// comes back. It waits for the first snapshot, and has to be called while Run runs.
func (m *Monitor) Judge(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.arrived:
	}
	limited, cancel := context.WithTimeout(ctx, judgePatience)
	defer cancel()
	if err := m.follow(limited); err != nil {
		return err
	}
	m.c.Checker.Judge(limited)
	return m.verdicts.write(ctx)
}

// follow tells whom to check and to ask from now on; of snapshots that come faster than that, the newest.
func (m *Monitor) follow(context.Context) error {
	s := m.newest()
	m.c.Checker.Want(s) // first: what an instance says is for who knows it
	m.c.Asker.Want(s)
	return nil
}

// failed logs a loop's error once, where it ends.
func (m *Monitor) failed(what string) func(error, time.Duration) {
	return func(err error, retry time.Duration) {
		m.c.Metrics.failures.WithLabelValues(what).Inc()
		m.c.Logger.Error("load monitor: "+what, "err", err, "retry", retry.Round(time.Millisecond).String())
	}
}
