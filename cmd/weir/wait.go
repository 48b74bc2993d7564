package main

import (
	"context"
	"errors"
	"fmt"
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

// drainFlags say whether to wait until the live connections have ended too.
type drainFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *drainFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.wait, "wait", false, "wait until no live TCP connection to the instance is left")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "with --wait: longest wait for the connections to end")
}

func (f *drainFlags) check(flags *pflag.FlagSet) error {
	switch {
	case flags.Changed("timeout") && !f.wait:
		return errors.New("--timeout bounds --wait: give both")
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %s: want a time to wait", f.timeout)
	}
	return nil
}

// await waits with the falling number on standard error.
func (f drainFlags) await(ctx context.Context, a *app, s store, want controlcenter.Drain) (*controlcenter.Remaining, error) {
	if !f.wait {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := controlcenter.Drained(ctx, s, want, func(r controlcenter.Remaining) { a.say("%s", r) })
	if err == nil {
		for _, node := range r.Unreachable {
			a.say("warning: node %s has no contact to etcd: what it carries is not known, and it may still send new connections", node)
		}
		a.say("%s/%s is drained and has no live connection, after %s", want.Service, want.Instance, r.Took.Round(time.Millisecond))
	}
	return &r, err
}
