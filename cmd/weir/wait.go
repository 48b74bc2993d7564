package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/controlcenter"
)

// waitFlags say whether to wait until the nodes have applied a change.
type waitFlags struct {
	no      bool
	timeout time.Duration
}

func (f *waitFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.no, "no-wait", false, "do not wait until the nodes have applied it")
	flags.DurationVar(&f.timeout, "wait-timeout", 30*time.Second, "longest wait for the nodes")
}

// wait waits with progress on standard error.
func (f waitFlags) wait(ctx context.Context, a *app, s store, want controlcenter.Awaited) (*controlcenter.Progress, error) {
	if f.no || want.Revision == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errors.New("the nodes took too long"))
	defer cancel()
	p, err := controlcenter.Wait(ctx, s, want, func(p controlcenter.Progress) { a.say("%s", p) })
	for _, warning := range p.Warnings() {
		a.say("warning: %s", warning)
	}
	return &p, err
}
