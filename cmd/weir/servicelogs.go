package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/launcher/logs"
)

// errIncomplete says that a part of what was asked for is missing; what is there was shown.
var errIncomplete = errors.New("a part is missing")

type serviceLogsOptions struct {
	*app
	ask        logs.Ask
	since      sinceFlag
	timestamps bool
	output     outputFlag
}

// defaultTail is how many lines of each instance are shown where nothing is said.
const defaultTail = 100

func newLogsCmd(a *app, runF func(context.Context, *serviceLogsOptions) error) *cobra.Command {
	o := &serviceLogsOptions{app: a}
	c := &cobra.Command{
		Use:   "logs SERVICE",
		Short: "Show what launched instances of a service wrote",
		Long: `Show what instances of a service that Weir launched wrote to stdout and stderr, on all nodes, in the order of time; also of those that
have ended or were stopped a short while ago. Of several instances each line begins with whose it is.

Where a node does not answer, that is said, the rest is shown, and the exit code is 9.`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.ask.Service = args[0]
			if err := o.check(c.Flags().Changed("tail")); err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runLogs(c.Context(), o, s) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.ask.Instance, "instance", "", "only this one, by its id as in weir get instances")
	f.BoolVarP(&o.ask.Follow, "follow", "f", false, "go on with what they write until interrupted, also of instances that are started meanwhile")
	f.IntVar(&o.ask.Tail, "tail", defaultTail, "how many of the last lines of each instance; -1: all that are kept, as with --since")
	f.Var(&o.since, "since", "only lines of the last so long, such as 10m, or since a time, such as 2026-01-02T15:04:05Z")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "begin each line with its time")
	o.output.register(f, "text", "text", "json")
	return c
}

func (o *serviceLogsOptions) check(tailGiven bool) error {
	if why := cluster.ValidName(o.ask.Service); why != "" {
		return fmt.Errorf("%s: see weir get services", why)
	}
	if why := cluster.ValidID(o.ask.Instance); o.ask.Instance != "" && why != "" {
		return fmt.Errorf("--instance: %s: see weir get instances %s", why, o.ask.Service)
	}
	if o.ask.Tail < -1 {
		return fmt.Errorf("--tail %d: want a number of lines, or -1 for all", o.ask.Tail)
	}
	if o.ask.Since = o.since.from(o.now()); !o.ask.Since.IsZero() && !tailGiven {
		o.ask.Tail = -1
	}
	return nil
}

func runLogs(ctx context.Context, o *serviceLogsOptions, s store) error {
	snapshot, err := o.snapshot(ctx, s)
	if err != nil {
		return err
	}
	ops, err := o.operations(ctx, s)
	if err != nil {
		return err
	}
	_, unknown := controlcenter.Services(snapshot, o.ask.Service)
	if unknown != nil && o.ask.Follow && !launched(ops, o.ask.Service) {
		return unknown
	}
	stations := stationsOf(o.ask.Service, snapshot, ops)
	if len(stations) == 0 {
		return errors.New("no node has a launcher that keeps what instances write: weir launcher with the driver process")
	}
	limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	if _, err := s.Secret(limited); err != nil {
		return err
	}
	client := o.etcd.asks(s.Secret)
	defer client.Close()
	l := newListener(o, &client, stations)
	l.unknown = unknown
	return l.run(ctx)
}
