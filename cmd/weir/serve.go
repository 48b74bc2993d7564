package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/ops"
	"github.com/weir-lb/weir/loadmon"
)

type serveOptions struct {
	*app
	name     string
	interval time.Duration
	lease    time.Duration
	pages    pageFlags
	logs     logOptions
	member   memberFlags
	ownEtcd  bool // the member is the etcd that is used
}

func newServeCmd(a *app, runF func(context.Context, *serveOptions) error) *cobra.Command {
	o := &serveOptions{app: a}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Stand for election and, while elected, move weights by load, declare dead nodes down, and launch and scale instances",
		Long: `Watch etcd and stand for election. Of all that run, one leads and the others wait for their turn; three on different hosts are
enough. While it leads it asks the load monitors of the nodes how their instances are doing, moves the weights of services with
"balance: adaptive", and declares nodes down that are gone from etcd and whose instances answer nobody. Of services with "run" it
places instances on nodes, scales them by load, replaces those that fail or whose node is gone, and moves them off nodes that are
drained or too busy; launchers start them. It calls and releases machines that stand by. It tells of each decision in
"weir events". "weir pause" stops all that. Publishing needs no leader.

With --embedded each brings an etcd member along, so that three control centers are a three-member etcd:
  weir controlcenter serve --embedded --name a --initial-cluster a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.3:2380 ...

Pages on --listen: /livez /readyz /metrics /debug/leader /debug/loads /debug/nodes /debug/state /debug/decisions /debug/problems.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := o.member.check(o.name, o.etcd, c.Flags()); err != nil {
				return err
			}
			o.ownEtcd = o.member.embedded && !c.Flags().Changed("etcd")
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runServe(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.name, "name", hostName(), "who leads, in events and for people who look")
	c.Flags().DurationVar(&o.interval, "interval", loadmon.Interval, "from one round of questions and decisions to the next; monitors sample when asked, at most every 2.5s")
	c.Flags().DurationVar(&o.lease, "lease", 5*time.Second, "a leader that is silent for so long is replaced")
	o.pages.register(c.Flags(), "127.0.0.1:9648")
	o.member.register(c.Flags())
	o.logs.addTo(c)
	return c
}

// config is the leader's, as far as flags say.
func (o *serveOptions) config() leader.Config {
	return leader.Config{Name: o.name, Interval: o.interval, Lease: o.lease}
}

// check finds what can be known before anything is opened.
func (o *serveOptions) check() error {
	if err := o.config().Validate(); err != nil {
		return &usageError{err}
	}
	return o.pages.check()
}

func runServe(ctx context.Context, o *serveOptions) error {
	logger, err := o.logs.logger(o.err)
	if err != nil {
		return err
	}
	member, err := o.member.start(ctx, o.name, o.etcd, logger)
	if err != nil {
		return err
	}
	if member != nil {
		defer member.Close() // last: a leader that stops gives the leadership back through it
	}
	if o.ownEtcd {
		o.etcd.endpoints = []string{member.Endpoint()}
	}
	store, err := o.etcd.open(ctx, logger)
	if err != nil {
		return err
	}
	defer store.Close()
	warnOfInsecure(store, logger)
	registry := newRegistry()
	monitors := o.etcd.monitors(store.Secret)
	defer monitors.Close()
	config := o.config()
	config.Store, config.Loads, config.Looker, config.Logger, config.Metrics = leaderStore{store, o.pages.listen}, monitors, monitors, logger, leader.NewMetrics(registry)
	l, err := leader.New(config)
	if err != nil {
		return err
	}
	logger.Info("starting", "name", o.name, "version", versionOf())
	g, ctx := errgroup.WithContext(ctx)
	server, err := o.pages.open(registry)
	if err != nil {
		return err
	}
	if server != nil {
		leaderPages(server, l, store)
		if member != nil {
			server.Ready("member", member.Ready)
		}
		g.Go(func() error { return server.Run(ctx) })
	}
	if member != nil {
		g.Go(func() error { return member.Run(ctx) })
	}
	g.Go(func() error { return l.Run(ctx) })
	g.Go(func() error { return ops.Watchdog(ctx, l.Live) })
	return untilEnd(g, logger)
}

func leaderPages(server *ops.Server, l *leader.Leader, store *etcd.Store) {
	server.Live("leader", l.Live)
	server.Ready("leader", l.Ready)
	server.Ready("etcd", connected(store))
	server.Page("leader", safePage(l.WriteState))
	server.Page("loads", safePage(l.WriteLoads))
	server.Page("nodes", safePage(l.WriteNodes))
	server.Page("state", safePage(l.WriteWork))
	server.Page("decisions", safePage(l.WriteDecisions))
	server.Page("problems", safePage(l.WriteProblems))
}

func connected(store *etcd.Store) func() error {
	return func() error {
		if status := store.Status(); !status.Connected {
			return fmt.Errorf("%w since %s: %s", cluster.ErrUnreachable, status.Since.Format(time.RFC3339), status.LastError)
		}
		return nil
	}
}

// leaderStore is the store as the leader needs it.
type leaderStore struct {
	*etcd.Store
	pages string // where they are listened for
}

func (s leaderStore) Watch(ctx context.Context, deliver func(*cluster.Snapshot)) error {
	return s.Store.Watch(ctx, etcd.WatchOptions{}, deliver)
}

func (s leaderStore) Lead(ctx context.Context, name string, lease time.Duration, lead func(context.Context, leader.Writer) error) error {
	return s.Store.Lead(ctx, etcd.Candidate{Name: name, TTL: lease, Host: hostName(), Pages: s.pages}, func(ctx context.Context, l *etcd.Leadership) error { return lead(ctx, l) })
}
