package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// Agent is one node's agent.
type Agent struct {
	c       Config
	kernel  *watched // c.Driver
	routes  router
	flows   *flows
	syncer  *runner.Runner
	flusher *runner.Runner
	teller  *runner.Runner
	saver   *runner.Runner
	herald  *runner.Runner
	waker   *runner.Runner
	waking  *waking
	sleeper chan struct{} // of size one: there is a service that sleeps

	archiver cluster.Archiver // of the snapshot file; used by one goroutine at a time
	tidy     sync.Once
	// Owned by the sync goroutine.
	have    *rules.State   // what the kernel holds; nil: it has to be read
	want    *rules.Ruleset // the newest ruleset that was built
	wrote   *rules.Ruleset // the newest that was written whole
	checked time.Time      // when the kernel was last read
	doubt   *suspicion     // why the kernel has to be read again; nil: it has not

	unsaved atomic.Bool // the snapshot file could not be written, which was told

	told    int           // repairs that were reported; owned by the herald, as is the next
	muted   bool          // this node may not report them
	noticed chan struct{} // of size one: somebody else changed our rules

	settled      bool              // Config.Settled went well
	surroundings []cluster.Problem // what Config.Host last said
	asked        time.Time         // when

	mu       sync.Mutex // guards what follows
	repairs  cluster.Repairs
	besides  []cluster.Problem // what other parts of the process complained of at the last pass that told it
	hearings int               // how many did
	fight    fight
	foe      string // who began the fight, and with what
	inbox    inbox
	status   Status
	passing  time.Time // when the pass that is under way began; zero: none is
}

// inbox is what came in since the last pass.
type inbox struct {
	snapshot *cluster.Snapshot
	arrived  time.Time
	taken    time.Time       // when the pass began
	stale    bool            // it came from the snapshot file
	foreign  []rules.Foreign // since the last reading
	noticed  time.Time       // when the first of them was
}

// New returns an agent that does nothing until Run.
func New(c Config) (*Agent, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Agent{c: c, kernel: &watched{Driver: c.Driver, limit: c.Deadline}, routes: newRoutes(c.NodeAddrs), noticed: make(chan struct{}, 1), waking: newWaking(), sleeper: make(chan struct{}, 1)}
	a.repairs = cluster.Repairs{Since: time.Now().UTC(), Newest: []cluster.Repair{}}
	a.flows = newFlows(c)
	a.syncer = runner.New(a.pass, runner.Options{Max: c.FullCheck, Failed: a.failed("sync")})
	a.flusher = runner.New(a.flows.reconcile, runner.Options{Min: 500 * time.Millisecond, Max: c.FullCheck, Failed: a.failed("reconcile flows")})
	a.teller = runner.New(a.tell, runner.Options{Min: 10 * time.Millisecond, Failed: a.failed("report")})
	a.flows.changed = a.teller.Kick
	a.saver = runner.New(a.save, runner.Options{Min: 10 * time.Second, Failed: a.failed(saving)})
	a.herald = runner.New(a.tellRepairs, runner.Options{Min: 2 * time.Second, Failed: a.failed("report repairs")})
	a.waker = runner.New(a.wake, runner.Options{Min: wakeEvery, RetryMax: 2 * time.Second, Failed: a.failed(rousing)})
	return a, nil
}

// Run keeps the node equal to the newest snapshot. It blocks until the context ends and returns nil when cancelled; rules
// and routes stay.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	last := a.recall()
	first, cold := handOver(last), handOver(last)
	g.Go(func() error { return a.c.Source.Watch(ctx, a.judgedBy(first()), a.deliver) })
	g.Go(func() error { return a.syncer.Run(ctx) })
	g.Go(func() error { return a.flusher.Run(ctx) })
	g.Go(func() error { return a.flows.follow(ctx, a.flusher.Kick) })
	g.Go(func() error { return a.teller.Run(ctx) })
	g.Go(func() error { return a.tellRegularly(ctx) })
	g.Go(func() error { return a.saver.Run(ctx) })
	g.Go(func() error { return a.herald.Run(ctx) })
	g.Go(func() error { return a.waker.Run(ctx) })
	g.Go(func() error { return a.listen(ctx) })
	g.Go(func() error { return a.watchDrift(ctx) })
	g.Go(func() error { return a.watchBeside(ctx) })
	g.Go(func() error { return a.heal(ctx) })
	g.Go(func() error { return a.watchRoutes(ctx) })
	g.Go(func() error { return a.coldStart(ctx, cold()) })
	err := g.Wait()
	// The file is written every few seconds at most, so the newest changes may not be in it.
	if err := a.save(context.WithoutCancel(ctx)); err != nil {
		a.c.Logger.Warn("save snapshot at stop", "err", err)
	}
	return err
}

// Once brings the node up to the first snapshot that arrives, reports, and returns. It fails with the context's error if
// none arrives in time.
func (a *Agent) Once(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	arrived := make(chan struct{})
	var first sync.Once
	g, watching := errgroup.WithContext(watching)
	g.Go(func() error {
		return a.c.Source.Watch(watching, a.judgedBy(a.recall()), func(s *cluster.Snapshot) {
			a.deliver(s)
			first.Do(func() { close(arrived) })
		})
	})
	g.Go(func() error {
		defer stop()
		select {
		case <-arrived:
		case <-watching.Done():
			return errors.Join(fmt.Errorf("wait for the first snapshot: %w", context.Cause(ctx)), a.c.Source.Connected())
		}
		if err := a.pass(ctx); err != nil {
			return err
		}
		return errors.Join(a.flows.reconcile(ctx), a.tell(ctx), a.save(ctx))
	})
	return g.Wait()
}

// Plan says what a pass would do now, without doing it. It waits for the first snapshot.
func (a *Agent) Plan(ctx context.Context) (*rules.Plan, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var snapshot *cluster.Snapshot
	err := a.c.Source.Watch(watching, a.judgedBy(a.recall()), func(s *cluster.Snapshot) {
		if snapshot == nil {
			snapshot = s
			stop()
		}
	})
	if err != nil {
		return nil, err
	}
	if snapshot == nil {
		return nil, errors.Join(fmt.Errorf("wait for the first snapshot: %w", context.Cause(ctx)), a.c.Source.Connected())
	}
	have, err := a.kernel.Read(ctx)
	if err != nil {
		return nil, err
	}
	return rules.Diff(have, rules.Build(nil, snapshot, a.options())), nil
}

func (a *Agent) deliver(s *cluster.Snapshot) {
	a.mu.Lock()
	a.inbox.snapshot, a.inbox.arrived, a.inbox.stale = s, time.Now(), false
	a.mu.Unlock()
	a.syncer.Kick()
}

// failed logs a loop's error once, where it ends.
func (a *Agent) failed(what string) func(error, time.Duration) {
	return func(err error, retry time.Duration) {
		a.c.Metrics.failures.WithLabelValues(what).Inc()
		if what == saving && a.unsaved.Swap(true) {
			return // a disk that is full stays so for long, and the agent works without the file
		}
		if what == rousing && a.c.Source.Connected() != nil {
			return // that etcd is away is told elsewhere, and this is tried every two seconds
		}
		a.c.Logger.Error(what, "err", err, "retry", retry.Round(time.Millisecond).String())
		if what == "sync" {
			a.mu.Lock()
			a.status.Failure = err
			a.mu.Unlock()
		}
	}
}
