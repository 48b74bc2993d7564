package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type nodeOptions struct {
	*app
	word   controlcenter.NodeWord
	clear  bool
	dryRun bool
	wait   waitFlags
	output outputFlag
	plan   func(*nodeOptions, *cluster.Snapshot, controlcenter.Fleet) (controlcenter.NodePlan, error)
}

type runNodeFunc func(context.Context, *nodeOptions) error

func newNodeCmd(a *app) *cobra.Command {
	return a.group("node", "Take a node out of service, say that it is down, or forget it",
		newNodeDrainCmd(a, nil),
		newNodeCordonCmd(a, nil),
		newNodeUncordonCmd(a, nil),
		newNodeDownCmd(a, nil),
		newNodeForgetCmd(a, nil),
	)
}

func newNodeDownCmd(a *app, runF runNodeFunc) *cobra.Command {
	o := &nodeOptions{app: a, plan: func(o *nodeOptions, s *cluster.Snapshot, f controlcenter.Fleet) (controlcenter.NodePlan, error) {
		if o.clear {
			return controlcenter.PlanUp(s, f, o.word.Node, o.now())
		}
		return controlcenter.PlanDown(s, f, o.word, o.now())
	}}
	c := o.command("down NODE {--reason TEXT | --clear}", "Send no new connections to the instances of a node that is dead, or take that back", runF)
	c.Long += `

The leader says so by itself, once a node is gone from etcd and two other nodes get no answer from its instances; it waits for you where
too many nodes are gone at once, or nobody can look. The node's own agent takes it back when it starts.`
	c.Args = func(c *cobra.Command, args []string) error {
		if (o.word.Reason != "") == o.clear {
			return errors.New("give --reason, which is shown wherever the node's instances are listed, or --clear")
		}
		return exactly(1)(c, args)
	}
	c.Flags().StringVar(&o.word.Reason, "reason", "", "why; shown wherever its instances are listed")
	c.Flags().BoolVar(&o.clear, "clear", false, "take back that the node is down")
	c.Flags().BoolVar(&o.word.Force, "force", false, "also when no instance of a service would take new connections afterwards")
	return c
}

func newNodeForgetCmd(a *app, runF runNodeFunc) *cobra.Command {
	o := &nodeOptions{app: a, plan: func(o *nodeOptions, s *cluster.Snapshot, f controlcenter.Fleet) (controlcenter.NodePlan, error) {
		return controlcenter.PlanForget(s, f, o.word, o.now())
	}}
	c := o.command("forget NODE", "Remove all that is said of a node that is gone for good, and the instances that it registered", runF)
	c.Args = exactly(1)
	c.Flags().BoolVar(&o.word.Force, "force", false, "also when it is alive, its launcher is in touch, or when instances on its addresses would be taken for well again")
	return c
}

func (o *nodeOptions) command(use, short string, runF runNodeFunc) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: short + ".",
		RunE: func(c *cobra.Command, args []string) error {
			o.word.Node = args[0]
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runNode(c.Context(), o)
		},
	}
	o.wait.register(c.Flags())
	o.output.register(c.Flags(), "none", "none", "json", "yaml")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would change, and stop there")
	return c
}

// nodeOutcome is what came of a word about a node, as data.
type nodeOutcome struct {
	controlcenter.NodePlan
	Revision int64                   `json:"revision,omitempty"` // 0: nothing was written
	Nodes    *controlcenter.Progress `json:"nodes,omitempty"`    // left out: nobody waited
}

func runNode(ctx context.Context, o *nodeOptions) error {
	return o.with(ctx, func(s store) error {
		snapshot, err := o.snapshot(ctx, s)
		if err != nil {
			return err
		}
		fleet, err := o.fleet(ctx, s)
		if err != nil {
			return err
		}
		ops, err := o.operations(ctx, s)
		if err != nil {
			return err
		}
		fleet.Launchers = ops.Launchers
		out := nodeOutcome{}
		if out.NodePlan, err = o.plan(o, snapshot, fleet); err != nil {
			return err
		}
		o.say("%s", out.NodePlan)
		switch {
		case o.dryRun:
			o.say("dry run: nothing was written")
		case !out.Nothing():
			if out.Revision, err = o.commit(ctx, s, out.Change); err != nil {
				return err
			}
			out.Nodes, err = o.wait.wait(ctx, o.app, s, controlcenter.Awaited{Revision: out.Revision})
		}
		if o.output.format == "none" {
			return err
		}
		return errors.Join(err, printData(o.out, o.output.format, out))
	})
}
