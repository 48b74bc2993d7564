package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/ops"
	"github.com/weir-lb/weir/internal/runner"
)

// serveLoadmon runs this node's load monitor in a process of its own, beside an agent with --loadmon=false.
func serveLoadmon(ctx context.Context, o *loadmonOptions) error {
	logger, err := o.logs.logger(o.err)
	if err != nil {
		return err
	}
	driver, _, err := o.driver.look(ctx)
	if err != nil {
		return err
	}
	defer driver.Close()
	store, err := o.etcd.open(ctx, logger)
	if err != nil {
		return err
	}
	defer store.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m, err := o.monitor.start(o.etcd, watching{o.node, driver, store, registry, logger})
	if err != nil {
		return err
	}
	if err := m.open(); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: is another load monitor running, as in an agent without --loadmon=false? Else choose other addresses with --load-listen and --report-listen", err)
		}
		return err
	}
	server, err := o.pages.open(registry)
	if err != nil {
		return err
	}
	logger.Info("starting", "node", o.node, "version", versionOf())
	g, ctx := errgroup.WithContext(ctx)
	if server != nil {
		server.Ready("etcd", connected(store))
		g.Go(func() error { return server.Run(ctx) })
	}
	l := &lone{node: o.node, monitor: m, store: store}
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return store.Watch(ctx, etcd.WatchOptions{}, l.deliver) })
	g.Go(func() error { return l.tell(ctx, func(err error) { logger.Warn("load monitor", "err", err) }) })
	g.Go(func() error { return ops.Watchdog(ctx, func() error { return nil }) })
	if err := ops.NotifyReady(); err != nil {
		logger.Warn("systemd", "err", err)
	}
	err = g.Wait()
	if notifyErr := ops.NotifyStopping(); notifyErr != nil {
		logger.Warn("systemd", "err", notifyErr)
	}
	return err
}

// lone is a load monitor that has to tell itself where it answers.
type lone struct {
	node    string
	monitor *nodeMonitor
	store   *etcd.Store
}

func (l *lone) deliver(s *cluster.Snapshot) { l.monitor.Deliver(s) }

// tell keeps the node's record in step: the agent may have written it anew, and addresses change. Where it says the same
// nothing is written.
func (l *lone) tell(ctx context.Context, failed func(error)) error {
	var last string
	for {
		wait := 10 * time.Second
		addresses, err := agent.Addresses()
		if err == nil {
			err = l.store.Monitor(ctx, l.node, l.monitor.url(ctx, addresses))
		}
		if err != nil && ctx.Err() == nil {
			if wait = 2 * time.Second; err.Error() != last {
				failed(err) // once
			}
			last = err.Error()
		} else {
			last = ""
		}
		if !runner.Sleep(ctx, wait) {
			return nil
		}
	}
}
