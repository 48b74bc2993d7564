package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

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
	registry := newRegistry()
	m, err := o.monitor.start(o.etcd, watching{node: o.node, driver: driver, store: store, registry: registry, logger: logger, complainer: store.Complainer(o.node)})
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
		server.Page("checks", safePage(m.checker.WriteChecks))
		server.Page("loads", safePage(m.WriteReport))
		server.Page("problems", safePage(m.writeProblems))
		g.Go(func() error { return server.Run(ctx) })
	}
	l := newLone(o.node, m, store, logger)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return store.Watch(ctx, etcd.WatchOptions{}, l.deliver) })
	g.Go(func() error { return l.teller.Run(ctx) })
	g.Go(func() error { return ops.Watchdog(ctx, func() error { return nil }) })
	return untilEnd(g, logger)
}

// lone is a load monitor that has to tell itself where it answers.
type lone struct {
	node    string
	monitor *nodeMonitor
	store   *etcd.Store
	teller  *runner.Runner

	mu   sync.Mutex
	told string // where it answers, as etcd was told
}

func newLone(node string, m *nodeMonitor, store *etcd.Store, logger *slog.Logger) *lone {
	l := &lone{node: node, monitor: m, store: store}
	l.teller = runner.New(l.tell, runner.Options{Min: 200 * time.Millisecond, Max: time.Minute, RetryMin: 200 * time.Millisecond, RetryMax: 5 * time.Second,
		Failed: func(err error, retry time.Duration) {
			logger.Warn("load monitor", "err", err, "retry", retry.Round(time.Millisecond).String())
		}})
	l.teller.Kick()
	return l
}

// deliver also looks whether the node's record still says where the monitor answers: an agent that starts writes it anew.
func (l *lone) deliver(s *cluster.Snapshot) {
	l.monitor.Deliver(s)
	l.mu.Lock()
	told := l.told
	l.mu.Unlock()
	if n, _ := s.Nodes.Get(l.node); n != nil && n.Monitor != told {
		l.teller.Kick()
	}
}

// tell keeps the node's record in step. Where it says the same nothing is written.
func (l *lone) tell(ctx context.Context) error {
	addresses, err := agent.Addresses()
	if err != nil {
		return err
	}
	url := l.monitor.url(ctx, addresses)
	if err := l.store.Monitor(ctx, l.node, url); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = url
	return nil
}
