package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type configOptions struct {
	*app
	file   string
	force  bool
	wait   waitFlags
	output outputFlag
}

func newConfigCmd(a *app, runF func(context.Context, *configOptions) error) *cobra.Command {
	o := &configOptions{app: a}
	c := &cobra.Command{
		Use:   "config [-f FILE]",
		Short: "Show the configuration, or replace it by a file",
		Long: `The configuration is the frame around all services: vip_pools, instance_networks, node_addresses, paused.
Whether automatic decisions are paused stays as it is, unless the file says paused: true or false.
A configuration under which a service would lose a VIP or an instance is refused, unless --force.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runConfig(c.Context(), o)
		},
	}
	c.Flags().StringVarP(&o.file, "file", "f", "", "YAML or JSON; - for standard input")
	c.Flags().BoolVar(&o.force, "force", false, "also when services would lose a VIP or an instance")
	o.wait.register(c.Flags())
	o.output.register(c.Flags(), "yaml", "yaml", "json")
	return c
}

func runConfig(ctx context.Context, o *configOptions) error {
	var next cluster.SetConfig
	if o.file != "" {
		name, data, err := o.read(o.file)
		if err != nil {
			return err
		}
		if next, err = controlcenter.ReadConfig(name, data); err != nil {
			return err
		}
	}
	return o.with(ctx, func(s store) error {
		snapshot, err := o.snapshot(ctx, s)
		if err != nil {
			return err
		}
		if next.Config == nil {
			shown := snapshot.Config
			if shown == nil {
				shown = &cluster.Config{}
			}
			return printData(o.out, o.output.format, shown)
		}
		return o.set(ctx, s, snapshot, next)
	})
}

func (o *configOptions) set(ctx context.Context, s store, snapshot *cluster.Snapshot, next cluster.SetConfig) error {
	change, err := controlcenter.PlanConfig(snapshot, next, o.force)
	if err != nil {
		return err
	}
	revision, err := o.commit(ctx, s, change)
	if err != nil {
		return err
	}
	o.say("written at revision %d", revision)
	if paused := snapshot.Config != nil && snapshot.Config.Paused; paused && next.KeepPause {
		o.say("automatic decisions stay paused, as the file does not say otherwise: see weir resume")
	} else if paused != next.Config.Paused {
		o.say("automatic decisions are %s, as the file says", pauseWord(next.Config.Paused))
	}
	if snapshot.Services.Len() == 0 {
		return nil // a cluster is configured before its first agent starts: there is nobody to wait for
	}
	_, err = o.wait.wait(ctx, o.app, s, controlcenter.Awaited{Revision: revision})
	return err
}
