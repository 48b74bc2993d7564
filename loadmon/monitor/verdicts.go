package monitor

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon/check"
)

// Checker knows how this node's instances are doing.
type Checker interface {
	// Want says what to check from now on. The first one also brings back what this node said before.
	Want(s *cluster.Snapshot)
	// Run checks until the context ends, and returns nil then.
	Run(ctx context.Context) error
	// Health is what is wrong now.
	Health() cluster.NodeHealth
	// Changed says that Health has changed.
	Changed() <-chan struct{}
	// Results are what the checks measured.
	Results() map[check.ID]check.Result
	// Judge looks at once at what nothing is known of yet, and returns when that is over, or the context ends.
	Judge(ctx context.Context)
}

const (
	verdictPause    = time.Second      // between two writes, on average
	verdictBurst    = 4                // of them may come sooner: one that waits may be what others need to know (see suspicion)
	verdictReview   = time.Minute      // then etcd is asked whether it still says the same: it may have been wiped or restored
	verdictRetry    = 2 * time.Second  // after a write that failed
	verdictPatience = 10 * time.Second // for one write

	// What changes together is written together: a process that ends may have been several instances, and the second one
	// would wait for verdictPause.
	verdictsTogether = 30 * time.Millisecond
)

// verdicts says what is wrong with this node's instances.
type verdicts struct {
	c      Config
	writer *runner.Runner
	mu     sync.Mutex // held while one writes: what is older must not come last
	outage outage
}

func newVerdicts(c Config, failed func(error, time.Duration)) *verdicts {
	v := &verdicts{c: c}
	v.writer = runner.New(v.write, runner.Options{Min: verdictPause, Burst: verdictBurst, Max: verdictReview, RetryMin: verdictPause, RetryMax: verdictRetry, Failed: failed})
	return v
}

// run checks and tells until the context ends. The checker wants to know whom to check before.
func (v *verdicts) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	v.writer.Kick() // what was said before may not hold any more
	g.Go(func() error { return v.c.Checker.Run(ctx) })
	g.Go(func() error { return v.writer.Run(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-v.c.Checker.Changed():
				runner.Sleep(ctx, verdictsTogether)
				v.writer.Kick()
			}
		}
	})
	return g.Wait()
}

// write tells etcd what is wrong now. Every agent hears of it, so it is not written again while it is the same.
func (v *verdicts) write(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	began := time.Now()
	health, less := v.outage.soften(v.c.Checker.Health(), began)
	n := 0
	for _, instances := range health {
		for _, h := range instances {
			if h.Verdict != cluster.Suspect {
				n++
			}
		}
	}
	v.c.Metrics.verdicts.Set(float64(n))
	ctx, cancel := context.WithTimeout(ctx, verdictPatience)
	defer cancel()
	wrote, err := v.c.Store.Health(ctx, v.c.Node, health)
	if wrote {
		v.c.Metrics.verdictWrites.Inc()
	}
	now := time.Now()
	if v.outage.wrote(health, err, now.Sub(began), now); less && err == nil {
		time.AfterFunc(v.outage.until.Sub(now), v.writer.Kick)
	}
	return err
}
