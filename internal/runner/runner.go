// Package runner runs one function again and again: at once when asked, not too often, not too seldom, and soon after it
// failed.
package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Options bound how often the function runs. The zero value runs it on each kick, and retries failures.
type Options struct {
	Min      time.Duration // between the starts of two runs; 0: no bound. More: bigger batches, later effect
	Burst    int           // after a rest so many runs may follow each other at once, as long as they are Min apart on average; 0: 1
	Max      time.Duration // run at least this often, kicked or not; 0: only when kicked. Raised to Min
	RetryMin time.Duration // from a failure to the next run, doubled with each failure in a row; default 100ms
	RetryMax time.Duration // upper bound of the doubling; default 30s, raised to RetryMin

	// Failed, if set, is told of each failed run and when the next one comes without a kick.
	Failed func(err error, retry time.Duration)
}

func (o Options) withDefaults() Options {
	if o.RetryMin <= 0 {
		o.RetryMin = 100 * time.Millisecond
	}
	if o.RetryMax <= 0 {
		o.RetryMax = 30 * time.Second
	}
	o.RetryMax = max(o.RetryMax, o.RetryMin)
	if o.Max > 0 {
		o.Max = max(o.Max, o.Min)
	}
	return o
}

// Runner calls one function, never twice at the same time.
type Runner struct {
	fn      func(context.Context) error
	o       Options
	kicked  chan struct{} // of size one: kicks that wait become one run
	running atomic.Bool
}

// New returns a runner that does nothing until Run.
func New(fn func(context.Context) error, o Options) *Runner {
	return &Runner{fn: fn, o: o.withDefaults(), kicked: make(chan struct{}, 1)}
}

// Kick asks for a run that begins after this call. It never blocks. An idle runner runs at once; kicks during a run
// make one more run after it; after a failure a kick waits RetryMin, not the whole backoff, since what was kicked for
// may be the cure.
func (r *Runner) Kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

// Run blocks until ctx ends and returns nil when cancelled. It does not begin with a run: a kick or Max does.
func (r *Runner) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("runner: already running")
	}
	defer r.running.Store(false)

	p := newPace(r.o, time.Now())
	for r.wait(ctx, p) {
		start := time.Now()
		err := r.fn(ctx)
		if ctx.Err() != nil {
			return nil // the error, if any, is only that of being stopped
		}
		p.ran(start, time.Now(), err != nil)
		if err != nil && r.o.Failed != nil {
			r.o.Failed(err, time.Until(p.due))
		}
	}
	return nil
}

// wait returns true when it is time to run, false when ctx has ended.
func (r *Runner) wait(ctx context.Context, p *pace) bool {
	due, stopDue := Until(p.due)
	defer stopDue()
	select {
	case <-ctx.Done():
		return false
	case <-due:
	case <-r.kicked:
	}
	earliest, stopEarliest := Until(p.earliest)
	defer stopEarliest()
	select {
	case <-ctx.Done():
		return false
	case <-earliest:
	}
	select {
	case <-r.kicked: // what came while we held back is part of this run
	default:
	}
	return ctx.Err() == nil
}
