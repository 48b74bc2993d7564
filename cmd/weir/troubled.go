package main

import (
	"context"
	"errors"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/controlcenter/placement"
)

// troubled is what nodes and launchers tell, what keeps instances from being placed, and what they ask for in vain. That is
// decided here as the leader decides it, from what is written, so that it is known also while nobody leads.
func (a *app) troubled(ctx context.Context, s store, snapshot *cluster.Snapshot, fleet controlcenter.Fleet) (told controlcenter.Told, err error) {
	told.Fleet = fleet
	told.Operations, err = a.operations(ctx, s)
	if errors.Is(err, cluster.ErrDenied) { // a viewer's role; the rest is worth showing
		a.say("warning: %v", err)
		return told, nil
	}
	if err != nil {
		return told, err
	}
	_, _, told.Placing = placement.Plan(placement.State{}, placement.Input{
		Now: a.now(), Snapshot: snapshot, Operations: told.Operations, Want: controlcenter.AllDue(snapshot, told.Operations),
	})
	told.Placing = append(told.Placing, foreman.Unheard(snapshot, told.Operations)...)
	return told, nil
}
