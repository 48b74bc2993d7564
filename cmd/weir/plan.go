package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/controlcenter"
)

type planOptions struct {
	*app
	services serviceFlags
	output   outputFlag
	detailed bool
}

func newPlanCmd(a *app, runF func(context.Context, *planOptions) error) *cobra.Command {
	o := &planOptions{app: a}
	c := &cobra.Command{
		Use:   "plan {NAME --vip IP:PORT --instance IP:PORT[=WEIGHT]... | -f FILE}",
		Short: "Show what publish would change",
		Args:  func(_ *cobra.Command, args []string) error { return o.services.check(args) },
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runPlan(c.Context(), o)
		},
	}
	o.services.register(c.Flags())
	o.output.register(c.Flags(), "table", "table", "json", "yaml", "name")
	c.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "exit with 2 when something would change")
	return c
}

func runPlan(ctx context.Context, o *planOptions) error {
	entries, err := o.services.entries(o.app)
	if err != nil {
		return err
	}
	return o.with(ctx, func(s store) error {
		plans, err := o.planAll(ctx, s, entries)
		if err != nil {
			return err
		}
		if o.output.format == "table" {
			for _, p := range plans {
				fmt.Fprintln(o.out, p)
			}
		} else if err := o.output.printOutcome(o.app, outcome{Plans: plans}); err != nil {
			return err
		}
		if o.detailed && slices.ContainsFunc(plans, func(p controlcenter.Plan) bool { return !p.Nothing() }) {
			return errChanges
		}
		return nil
	})
}
