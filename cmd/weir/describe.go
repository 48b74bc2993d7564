package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/describe"
	"github.com/weir-lb/weir/loadmon"
)

type describeOptions struct {
	*app
	name   string
	output outputFlag
}

func newDescribeCmd(a *app) *cobra.Command {
	return a.group("describe", "Tell all that is known of one thing", newDescribeServiceCmd(a, nil))
}

func newDescribeServiceCmd(a *app, runF func(context.Context, *describeOptions) error) *cobra.Command {
	o := &describeOptions{app: a}
	c := &cobra.Command{
		Use:     "service NAME",
		Aliases: []string{"services"},
		Short:   "Tell all that is known of a service",
		Long: `Tell all that is known of a service: how it is balanced and checked; how many instances are wanted and who says so; each with its
state, whose word its weight is, and what its node measured; who is out, why and since when; of those that Weir launched how often
they were started and how they ended last; what nodes could not do; what was decided; and its file.`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.name = args[0]
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runDescribe(c.Context(), o, s) })
		},
	}
	o.output.register(c.Flags(), "text", "text", "json", "yaml")
	return c
}

func runDescribe(ctx context.Context, o *describeOptions, s store) error {
	known, err := o.known(ctx, s)
	if err != nil {
		return err
	}
	d, err := describe.Of(o.name, known)
	if err != nil {
		return err
	}
	if o.output.format != "text" {
		return printData(o.out, o.output.format, d)
	}
	file, err := encoded("yaml", d.File)
	if err != nil {
		return err
	}
	return d.Text(o.out, known.Now, file)
}

func (o *describeOptions) known(ctx context.Context, s store) (k describe.Known, err error) {
	if k.Snapshot, err = o.snapshot(ctx, s); err != nil {
		return k, err
	}
	in, ok := k.Snapshot.Services.Get(o.name)
	if !ok {
		return k, nil // it will be said what there is
	}
	if k.Fleet, err = o.told(ctx, s); err != nil {
		return k, err
	}
	if k.Events, err = o.events(ctx, s); err != nil {
		return k, err
	}
	troubled, err := o.troubled(ctx, s, k.Snapshot, k.Fleet)
	if err != nil {
		return k, err
	}
	k.Operations = troubled.Operations
	if k.Troubles, err = controlcenter.Troubles(k.Snapshot, troubled, o.name); err != nil {
		return k, err
	}
	past, notes := o.measured(ctx, s, k.Snapshot, hosting(k.Snapshot, o.name))
	k.Loads, k.Notes, k.Now = map[string]loadmon.Load{}, notes, o.now()
	for id, host := range in.Hosts {
		if load, ok := past.Load(host.Node, o.name, id, k.Now); ok {
			k.Loads[id] = load
		}
	}
	return k, nil
}

func (o *describeOptions) events(ctx context.Context, s store) ([]cluster.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	return s.Events(ctx, o.name)
}
