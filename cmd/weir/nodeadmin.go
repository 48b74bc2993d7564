package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

func newNodeDrainCmd(a *app, runF runNodeFunc) *cobra.Command {
	o := &nodeOptions{app: a, plan: func(o *nodeOptions, s *cluster.Snapshot, f controlcenter.Fleet) (controlcenter.NodePlan, error) {
		return controlcenter.PlanNodeDrain(s, f, o.word, o.now())
	}}
	c := o.command("drain NODE", "Move a node's instances to others, and send none of it new connections", runF)
	c.Long += `

Launched instances are started elsewhere first; each goes once its substitute is ready, so that there are never fewer than are
wanted. Instances that were published by hand take no new connections from now on. "weir node uncordon" takes it back.`
	c.Args = exactly(1)
	c.Flags().StringVar(&o.word.Reason, "reason", "", "why; shown wherever its instances are listed")
	c.Flags().BoolVar(&o.word.Force, "force", false, "also when no instance of a service would take new connections afterwards")
	return c
}

func newNodeCordonCmd(a *app, runF runNodeFunc) *cobra.Command {
	o := &nodeOptions{app: a, plan: func(o *nodeOptions, s *cluster.Snapshot, f controlcenter.Fleet) (controlcenter.NodePlan, error) {
		return controlcenter.PlanNodeCordon(s, f, o.word, o.now())
	}}
	c := o.command("cordon NODE", "Place nothing new on a node; what runs there stays", runF)
	c.Args = exactly(1)
	c.Flags().StringVar(&o.word.Reason, "reason", "", "why")
	return c
}

func newNodeUncordonCmd(a *app, runF runNodeFunc) *cobra.Command {
	o := &nodeOptions{app: a, plan: func(o *nodeOptions, s *cluster.Snapshot, f controlcenter.Fleet) (controlcenter.NodePlan, error) {
		return controlcenter.PlanNodeUncordon(s, f, o.word, o.now())
	}}
	c := o.command("uncordon NODE", "Take back that a node is cordoned or drained", runF)
	c.Args = exactly(1)
	return c
}
