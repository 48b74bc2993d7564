package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/launcher/allow"
	"github.com/weir-lb/weir/launcher/keep"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/loadmon/check"
)

type launcherOptions struct {
	*app
	node            string
	list            string
	stateDir        string
	nodeIP          string
	ports           string
	cpus            float64
	memory          string
	user            string
	cgroup          string
	hook, hookToken string
	hookTimeout     time.Duration
	doors           launcherDoors
	pages           pageFlags
	logs            logOptions
}

func newLauncherCmd(a *app, runF func(context.Context, *launcherOptions) error) *cobra.Command {
	o := &launcherOptions{app: a}
	c := &cobra.Command{
		Use:   "launcher",
		Short: "Start and supervise the instances that the control center assigns to this node",
		Long: `Watch what the control center assigns to this node, and keep it running: start it, wait until its check passes, show it to all
nodes, start it anew when it ends, stop it when that is asked for. Instances run on when this ends or is started anew.

It runs nothing but what the list allows, a file that belongs to root: drivers, users, paths and services. It refuses an etcd
that does not ask who writes there: whoever could write to it would run programs here.

Pages on --listen: /livez /readyz /metrics.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runLauncher(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.node, "node", hostName(), "this node's name in the cluster")
	f.StringVar(&o.list, "list", "/etc/weir/launcher.yaml", "file of root's that says which drivers, users, paths and services may be launched")
	f.StringVar(&o.stateDir, "state-dir", "/var/lib/weir-launcher", "where instances' states and output are kept")
	f.StringVar(&o.nodeIP, "node-ip", "", "address at which instances are reached; default: the node's first")
	f.StringVar(&o.ports, "ports", "20000-29999", "ports that instances may get")
	f.Float64Var(&o.cpus, "cpus", 0, "processors for all instances together; 0: all that there are")
	f.StringVar(&o.memory, "memory", "", "memory for all instances together, as in 8GiB; default: nine tenths of the host's")
	f.StringVar(&o.hook, "hook", "", "driver hook: program or URL that acquires, releases and lists instances elsewhere")
	f.StringVar(&o.hookToken, "hook-token-file", "", "driver hook: file with the token that a URL wants")
	f.DurationVar(&o.hookTimeout, "hook-timeout", 30*time.Second, "driver hook: longest wait for an answer")
	f.StringVar(&o.cgroup, "cgroup", process.DefaultGroup, "control group above those of the instances; empty: none are made, and nothing is limited")
	f.StringVar(&o.user, "user", "", "who instances run as that name nobody; they are refused without")
	o.doors.register(f)
	o.pages.register(f, "127.0.0.1:9650")
	o.logs.addTo(c)
	return c
}

// check finds what can be known before anything is opened.
func (o *launcherOptions) check() error {
	var errs []error
	if why := cluster.ValidName(o.node); why != "" {
		errs = append(errs, fmt.Errorf("--node: %s", why))
	}
	if o.nodeIP != "" {
		if _, err := netip.ParseAddr(o.nodeIP); err != nil {
			errs = append(errs, fmt.Errorf("--node-ip %q: want an address: %w", o.nodeIP, err))
		}
	}
	if err := new(cluster.PortRange).UnmarshalText([]byte(o.ports)); err != nil {
		errs = append(errs, fmt.Errorf("--ports: %w", err))
	}
	if o.memory != "" {
		if err := new(cluster.Bytes).UnmarshalText([]byte(o.memory)); err != nil {
			errs = append(errs, fmt.Errorf("--memory: %w", err))
		}
	}
	if o.cpus < 0 {
		errs = append(errs, fmt.Errorf("--cpus %g is negative", o.cpus))
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	if err := o.etcd.authenticated(); err != nil {
		return err
	}
	return errors.Join(o.doors.check(o.etcd), o.pages.check())
}

func runLauncher(ctx context.Context, o *launcherOptions) error {
	logger, err := o.logs.logger(o.err)
	if err != nil {
		return err
	}
	list, err := allow.Read(o.list)
	if err != nil {
		return fmt.Errorf("%w: %w", cluster.ErrUnsafe, err)
	}
	store, err := o.etcd.open(ctx, logger)
	if err != nil {
		return err
	}
	defer store.Close()
	self, err := o.self(ctx, list)
	if err != nil {
		return err
	}
	hands, err := o.hands(list)
	if err != nil {
		return err
	}
	defer hands.close()
	registry := newRegistry()
	k, err := keep.New(keep.Config{
		Node: o.node, Self: self, Drivers: hands.drivers, Store: o.etcd.proven(store, logger), Probe: check.Once, Looks: looks, Logger: logger.With("node", o.node), Metrics: keep.NewMetrics(registry),
	})
	if err != nil {
		return err
	}
	logger.Info("starting", "node", o.node, "version", versionOf(), "drivers", strings.Join(self.Drivers, ","), "address", self.Address.String())
	return serveLauncher(ctx, o, &serving{k, hands, store, registry, logger})
}

// serving is a launcher that is about to run.
type serving struct {
	keeper   *keep.Keeper
	hands    *hands
	store    *etcd.Store
	registry *prometheus.Registry
	logger   *slog.Logger
}

func serveLauncher(ctx context.Context, o *launcherOptions, s *serving) error {
	g, ctx := errgroup.WithContext(ctx)
	server, err := o.pages.open(s.registry)
	if err != nil {
		return err
	}
	if server != nil {
		server.Ready("instances", s.keeper.Ready)
		g.Go(func() error { return server.Run(ctx) })
	}
	if s.hands.process != nil {
		logs, err := o.doors.shown(o.etcd, s.hands.process, s.store, s.registry, s.logger)
		if err != nil {
			return err
		}
		g.Go(func() error { return logs.Run(ctx) })
	}
	if s.hands.tokens != nil {
		words, err := o.doors.heard(s.hands.tokens, s.keeper, s.registry, s.logger)
		if err != nil {
			return err
		}
		g.Go(func() error { return words.Run(ctx) })
	}
	g.Go(func() error { return s.keeper.Run(ctx) })
	return untilEnd(g, s.logger)
}

// looks are how often drivers are asked where that is dear: of a hook it is a program that is run, or a request; of external
// instances a connection to each.
var looks = map[string]time.Duration{cluster.DriverHook: 5 * time.Second, cluster.DriverExternal: time.Second}
