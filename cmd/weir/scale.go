package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/controlcenter"
)

type scaleOptions struct {
	*app
	word   controlcenter.ScaleWord
	dryRun bool
}

func newScaleCmd(a *app, runF func(context.Context, *scaleOptions) error) *cobra.Command {
	o := &scaleOptions{app: a}
	c := &cobra.Command{
		Use:   "scale SERVICE {N | --auto}",
		Short: "Say how many instances of a service there should be, or take that back",
		Long: `Say how many instances should serve of a service that Weir launches, or of which some stand by. The number stays until
another one is given or --auto takes it back: load does not change it, nor does publishing the service again.`,
		Args: func(c *cobra.Command, args []string) error {
			if o.word.Auto {
				return exactly(1)(c, args)
			}
			if err := exactly(2)(c, args); err != nil {
				return errors.Join(err, errors.New("give a number, or --auto"))
			}
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return fmt.Errorf("%q is no number of instances", args[1])
			}
			o.word.Replicas = n
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.word.Service = args[0]
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runScale(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.word.Auto, "auto", false, "let the load, or the service's file, decide again")
	f.StringVar(&o.word.Reason, "reason", "", "why; shown with the number")
	f.BoolVar(&o.word.Force, "force", false, "also outside of what the file permits, or when more than half of all instances would go")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would change, and stop there")
	return c
}

func runScale(ctx context.Context, o *scaleOptions) error {
	return o.with(ctx, func(s store) error {
		snapshot, err := o.snapshot(ctx, s)
		if err != nil {
			return err
		}
		ops, err := o.operations(ctx, s)
		if err != nil {
			return err
		}
		plan, err := controlcenter.PlanScale(snapshot, ops, o.word, o.now())
		if err != nil {
			return err
		}
		o.say("%s", plan)
		if plan.Change == nil || o.dryRun {
			return nil
		}
		_, err = o.commit(ctx, s, plan.Change)
		return err
	})
}
