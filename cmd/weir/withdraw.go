package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type withdrawOptions struct {
	publishOptions
	name string
}

func newWithdrawCmd(a *app, runF func(context.Context, *withdrawOptions) error) *cobra.Command {
	o := &withdrawOptions{publishOptions: publishOptions{app: a}}
	c := &cobra.Command{
		Use:   "withdraw NAME",
		Short: "Remove a service",
		Args:  exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.name = args[0]
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runWithdraw(c.Context(), o)
		},
	}
	o.wait.register(c.Flags())
	o.output.register(c.Flags(), "none", "none", "json", "yaml", "name")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would change, and stop there")
	o.registerForce(c.Flags())
	return c
}

func runWithdraw(ctx context.Context, o *withdrawOptions) error {
	return o.with(ctx, func(s store) error {
		if o.dryRun {
			snapshot, err := o.snapshot(ctx, s)
			if err != nil {
				return err
			}
			p, err := controlcenter.PlanWithdraw(ctx, s, snapshot, o.name)
			if err != nil {
				return err
			}
			plans := []controlcenter.Plan{p}
			if err := controlcenter.Weigh(ctx, s, snapshot, plans); err != nil && !errors.Is(err, cluster.ErrUnsafe) {
				return err
			}
			p = plans[0]
			o.say("%s\ndry run: nothing was written", p)
			return o.output.printOutcome(o.app, outcome{Plans: []controlcenter.Plan{p}})
		}
		limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
		defer cancel()
		p, err := controlcenter.Withdraw(limited, s, o.name, o.how())
		if err != nil {
			return err
		}
		out := outcome{Plans: []controlcenter.Plan{p.Plan}, Revision: p.Revision}
		return o.finish(ctx, s, out, controlcenter.Awaited{Revision: p.Revision, Services: []string{o.name}})
	})
}
