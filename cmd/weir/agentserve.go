package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/ops"
	"github.com/weir-lb/weir/internal/runner"
)

// served is what one agent process consists of.
type served struct {
	agent    *agent.Agent
	store    *etcd.Store
	registry *prometheus.Registry
	logger   *slog.Logger
	monitor  *nodeMonitor // nil: none runs here
}

func serveAgent(ctx context.Context, o *agentOptions, s served) error {
	g, ctx := errgroup.WithContext(ctx)
	server, err := o.pages.open(s.registry)
	if err != nil {
		return err
	}
	if server != nil {
		server.Live("agent", s.agent.Live)
		server.Ready("rules", s.agent.Ready)
		server.Page("snapshot", safePage(s.agent.WriteSnapshot))
		server.Page("rules", safePage(s.agent.WriteRules))
		server.Page("plan", safePage(s.agent.WritePlan))
		server.Page("problems", safePage(s.agent.WriteProblems))
		server.Page("repairs", safePage(s.agent.WriteRepairs))
		if s.monitor != nil {
			server.Page("checks", safePage(s.monitor.checker.WriteChecks))
			server.Page("loads", safePage(s.monitor.WriteReport))
		}
		g.Go(func() error { return server.Run(ctx) })
	}
	if s.monitor != nil {
		g.Go(func() error { return s.monitor.Run(ctx) })
	}
	g.Go(func() error { return s.agent.Run(ctx) })
	g.Go(func() error {
		if s.returns(ctx, o.node); ctx.Err() != nil {
			return nil
		}
		g.Go(func() error { return s.store.Alive(ctx, o.node) })
		return join(ctx, o, s)
	})
	g.Go(func() error { return ops.Watchdog(ctx, s.agent.Live) })
	return untilEnd(g, s.logger)
}

// returns has the load monitor of a node that was declared down look at its instances before the node is back in: with the agent's
// first word to the cluster all nodes send connections again to those of which nothing is said. It waits for etcd, without
// which there is no first word either.
func (s served) returns(ctx context.Context, node string) {
	for s.monitor != nil {
		down, err := s.store.Down(ctx, node)
		if err == nil && down {
			s.logger.Info("this node was declared down: its instances are looked at before they get connections again")
			err = s.monitor.Judge(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		if !errors.Is(err, cluster.ErrUnreachable) {
			s.logger.Warn("it is not known how the instances of this node are, and it goes on as if they were well", "err", err)
			return
		}
		if !runner.Sleep(ctx, time.Second) {
			return
		}
	}
}
