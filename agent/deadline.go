package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-lb/weir/rules"
)

// watched is the driver with a limit on how long reading and writing may take. A call into the kernel cannot be taken
// back, and another program may hold the lock of nf_tables for as long as it likes; so what is overdue is told while it
// still hangs, and whatever can be interrupted is.
type watched struct {
	rules.Driver
	limit time.Duration

	mu    sync.Mutex
	doing string
	since time.Time // zero: nothing is under way
}

func (w *watched) Read(ctx context.Context) (state *rules.State, err error) {
	err = w.during(ctx, "reading", func(ctx context.Context) error {
		state, err = w.Driver.Read(ctx)
		return err
	})
	return state, err
}

func (w *watched) Apply(ctx context.Context, plan *rules.Plan) error {
	return w.during(ctx, "writing", func(ctx context.Context) error { return w.Driver.Apply(ctx, plan) })
}

func (w *watched) during(ctx context.Context, doing string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	w.mark(doing, time.Now())
	defer w.mark("", time.Time{})
	err := call(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s rules took longer than %s: %w", doing, w.limit, err)
	}
	return err
}

func (w *watched) mark(doing string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing, w.since = doing, since
}

// overdue says what hangs, or nil.
func (w *watched) overdue() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.since); !w.since.IsZero() && took > w.limit {
		return fmt.Errorf("%s rules has been under way for %s: does another program write a very large ruleset, or hold the lock of iptables?", w.doing, took.Round(time.Second))
	}
	return nil
}
