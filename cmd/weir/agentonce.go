package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
)

func runOnce(ctx context.Context, app *app, o *agentOptions, a *agent.Agent) error {
	ctx, cancel := context.WithTimeout(ctx, app.etcd.timeout)
	defer cancel()
	if !o.dryRun {
		return adviseEtcd(a.Once(ctx))
	}
	plan, err := a.Plan(ctx)
	if err != nil {
		return adviseEtcd(err)
	}
	if plan.Empty() {
		app.say("nothing would change")
	}
	fmt.Fprint(app.out, plan)
	return nil
}

// adviseEtcd says what to do where nothing came of etcd: a one-shot agent does not go on trying.
func adviseEtcd(err error) error {
	if errors.Is(err, cluster.ErrUnreachable) {
		return fmt.Errorf("%w: see that etcd runs and that --etcd names it, or give it longer with --timeout", err)
	}
	return err
}
