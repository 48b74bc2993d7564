package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// trial is one measurement under way. It is an integration.TB, so that clusters are built as the tests build them. What
// it made is gone when it ends, however it ends.
type trial struct {
	o        options
	name     string
	ctx      context.Context
	log      io.Writer
	rows     []Row
	cleanups []func()
	errs     []error
}

// given up is what FailNow throws; try catches it.
type givenUp struct{}

// try runs a measurement. It returns the rows that were finished, and why others were not.
func try(ctx context.Context, o options, m measurement, log io.Writer) ([]Row, error) {
	t := &trial{o: o, name: m.name, ctx: ctx, log: log}
	t.guarded(func() { m.run(t) })
	for _, cleanup := range slices.Backward(t.cleanups) {
		t.guarded(cleanup)
	}
	return t.rows, errors.Join(t.errs...)
}

// report adds rows to the table.
func (t *trial) report(rows ...Row) {
	for _, row := range rows {
		row.Group = t.name
		t.rows = append(t.rows, row)
		fmt.Fprintf(t.log, "  %s: %s\n", row.What, row.Value)
	}
}

func (t *trial) guarded(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(givenUp); !ours {
				t.errs = append(t.errs, fmt.Errorf("panic: %v", r))
			}
		}
	}()
	fn()
}

// must gives the measurement up on an error, and when somebody stops the program.
func (t *trial) must(err error) {
	if err = errors.Join(err, t.ctx.Err()); err != nil {
		t.errs = append(t.errs, err)
		panic(givenUp{})
	}
}

// during runs something beside the measurement, until it is stopped or the measurement ends. That it was stopped is no error.
func (t *trial) during(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%w", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// dir is a directory that is removed at the end.
func (t *trial) dir() string {
	dir, err := os.MkdirTemp("", "weir-bench-")
	t.must(err)
	t.Cleanup(func() { t.must(os.RemoveAll(dir)) })
	return dir
}

// The rest is what integration.TB asks for.

func (t *trial) Helper()                         {}
func (t *trial) Name() string                    { return "bench" + t.name }
func (t *trial) Cleanup(fn func())               { t.cleanups = append(t.cleanups, fn) }
func (t *trial) Context() context.Context        { return t.ctx }
func (t *trial) Failed() bool                    { return len(t.errs) > 0 }
func (t *trial) FailNow()                        { panic(givenUp{}) }
func (t *trial) Logf(format string, args ...any) { fmt.Fprintf(t.log, format+"\n", args...) }
func (t *trial) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}
func (t *trial) Skipf(format string, args ...any) { t.Fatalf(format, args...) }
func (t *trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	t.FailNow()
}
