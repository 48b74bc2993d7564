package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/knock"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

type agentOptions struct {
	node       string
	stateDir   string
	pages      pageFlags
	driver     driverFlags
	tableOwner string
	keepSource keepSourceFlag
	nodeAddrs  []string
	labels     map[string]string
	budget     int
	killFlows  bool
	rollback   bool
	ping       bool
	once       bool
	dryRun     bool
	loadmon    bool
	monitor    monitorOptions
	logs       logOptions
}

func newAgentCmd(a *app) *cobra.Command {
	o := &agentOptions{}
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Keep this node's rules equal to what is published",
		Long: `Watch etcd and keep this node's kernel equal to it: the rules, the routes to the VIPs, and the connection tracking entries
that would hold clients to instances that are gone. Needs CAP_NET_ADMIN. Rules stay when it stops; "weir rules clean" removes them.

Pages on --listen: /livez /readyz /metrics /debug/snapshot /debug/rules /debug/plan /debug/problems /debug/repairs /debug/checks /debug/loads.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), a, o) },
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.once, "once", false, "bring the node up to date once, then leave")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.AddCommand(newAgentDoctorCmd(a))
	return cmd
}

func (o *agentOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.node, "node", hostName(), "this node's name in the cluster")
	flags.StringVar(&o.stateDir, "state-dir", "/var/lib/weir", "where the last snapshot is kept for a start without etcd; empty: nowhere")
	o.pages.register(flags, "127.0.0.1:9646")
	o.driver.register(flags)
	flags.StringVar(&o.tableOwner, "table-owner", "auto", "auto: own the tables where the kernel can (Linux 6.9), so that nobody else changes them; off: notice and repair")
	o.keepSource.register(flags)
	flags.StringSliceVar(&o.nodeAddrs, "node-ip", nil, "addresses that local clients use as source, one a family; default: those of the default route")
	flags.StringToStringVar(&o.labels, "label", nil, "labels of this node (key=value)")
	flags.IntVar(&o.budget, "budget", rules.DefaultBudget, "slots that this node may hold before weights are approximated more coarsely")
	flags.BoolVar(&o.killFlows, "kill-flows", false, "end established TCP connections to instances that are dead, so that clients notice at once")
	flags.BoolVar(&o.rollback, "accept-rollback", false, "believe etcd at the start, also where it is older than what this node served last, or lacks much of it")
	flags.BoolVar(&o.ping, "ping", false, "VIPs of services answer ping; without it they are refused like ports that no service has")
	flags.BoolVar(&o.loadmon, "loadmon", true, "run this node's load monitor, too; false: not here (weir loadmon runs it in a process of its own)")
	o.monitor.register(flags)
	o.logs.addTo(cmd)
}

func runAgent(ctx context.Context, app *app, o *agentOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := o.monitor.check(app.etcd); err != nil {
		return err
	}
	logger, err := o.logs.logger(app.err)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		// A node's memory is its services': at ten thousand services the peak is a third lower, for a tenth of a core more in
		// a storm of changes.
		debug.SetGCPercent(50)
	}
	registry := newRegistry()
	config, err := o.config(logger, registry)
	if err != nil {
		return err
	}
	if !o.dryRun {
		lock, err := lockNode()
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	driver, why, err := o.openDriver(ctx, logger, registry)
	if err != nil || driver == nil {
		return err
	}
	defer driver.Close()
	store, err := app.etcd.open(ctx, logger)
	if err != nil {
		return err
	}
	defer store.Close()
	registerGauges(registry, store, driver)
	warnOfInsecure(store, logger)
	s := served{store: store, registry: registry, logger: logger}
	o.connect(app.etcd, &config, &s, driver)
	a, err := agent.New(config)
	if err != nil {
		return err
	}
	if o.once || o.dryRun {
		return runOnce(ctx, app, o, a)
	}
	logger.Info("starting", "node", o.node, "driver", driver.Name(), "why", why, "owned", driver.Owning())
	s.agent = a
	return serveAgent(ctx, o, s)
}

// connect gives the agent what it works with, and its load monitor a part in it.
func (o *agentOptions) connect(f etcdFlags, c *agent.Config, s *served, driver driver) {
	from := &source{store: s.store}
	c.Driver, c.Source, c.Report = driver, from, s.store
	c.NoTables, c.Settled, c.Host = noTables(driver), others(driver), hostProblems(driver)
	if !o.once { // who does not stay would not hear of them
		c.Knocks = knock.Listener{Group: rules.WakeGroup, Snaplen: rules.WakeSnaplen}
	}
	if !o.loadmon || o.once || o.dryRun {
		return
	}
	if s.monitor = o.startMonitor(f, watching{node: o.node, driver: driver, store: s.store, registry: s.registry, logger: s.logger}); s.monitor != nil {
		from.also, c.Beside = s.monitor.Deliver, s.monitor.problems
	}
}

// startMonitor makes the load monitor. The node's rules do not depend on it, so what fails is told and no more.
func (o *agentOptions) startMonitor(f etcdFlags, w watching) *nodeMonitor {
	m, err := o.monitor.start(f, w)
	if err != nil {
		w.logger.Error("this node has no load monitor: its instances keep their weights, and nobody checks them", "err", err)
		return nil
	}
	if err := m.open(); err != nil { // it will try again; now there is a node record to write
		w.logger.Error("the load monitor does not listen: choose another address with --load-listen or --report-listen, or none with --loadmon=false", "err", err)
	}
	return m
}

// check finds what can be known before anything is opened.
func (o *agentOptions) check() error {
	if why := cluster.ValidName(o.node); why != "" {
		return &usageError{fmt.Errorf("--node: %s", why)}
	}
	if err := o.driver.check(); err != nil {
		return err
	}
	return o.pages.check()
}

// config turns the flags into the agent's configuration and says everything that is wrong with them.
func (o *agentOptions) config(logger *slog.Logger, registry prometheus.Registerer) (agent.Config, error) {
	c := agent.Config{
		Node: o.node, StateDir: o.stateDir, KeepSource: o.keepSource.prefixes, Budget: o.budget, KillFlows: o.killFlows, Ping: o.ping, AcceptRollback: o.rollback,
		Logger: logger, Metrics: agent.NewMetrics(registry),
	}
	var errs []error
	if o.tableOwner != string(nft.OwnAuto) && o.tableOwner != string(nft.OwnOff) {
		errs = append(errs, fmt.Errorf("--table-owner %q: use auto or off", o.tableOwner))
	}
	for _, s := range o.nodeAddrs {
		a, err := netip.ParseAddr(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("--node-ip %q: want an address: %w", s, err))
			continue
		}
		c.NodeAddrs = append(c.NodeAddrs, a)
	}
	if err := errors.Join(errs...); err != nil {
		return c, &usageError{err}
	}
	if o.stateDir != "" && !o.dryRun {
		if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
			logger.Error("the snapshot file cannot be kept, so a start without etcd will find nothing", "err", err)
			c.StateDir = ""
		}
	}
	return c, nil
}
