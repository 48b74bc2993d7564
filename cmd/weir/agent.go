package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/knock"
	"github.com/weir-lb/weir/internal/ops"
	"github.com/weir-lb/weir/internal/runner"
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
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), a, o) },
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.once, "once", false, "bring the node up to date once, then leave")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.AddCommand(newAgentDoctorCmd(a))
	return cmd
}

func (o *agentOptions) register(cmd *cobra.Command) {
	name, _ := os.Hostname()
	flags := cmd.Flags()
	flags.StringVar(&o.node, "node", name, "this node's name in the cluster")
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
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	if store.Status().Insecure {
		logger.Warn("--insecure-etcd: plain http or no authentication is accepted, so whoever reaches etcd, or the way to it, decides where connections go")
	}
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
	if s.monitor = o.startMonitor(f, watching{o.node, driver, s.store, s.registry, s.logger}); s.monitor != nil {
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

// lockNode makes sure that one agent at a time works in a network namespace. An abstract socket is just that: one for
// each name and namespace, and gone with its process.
func lockNode() (io.Closer, error) {
	l, err := net.Listen("unix", "@weir-agent")
	if err != nil {
		return nil, lockError(err)
	}
	return l, nil
}

// errSecondAgent says nothing of the tables: whose they are, the lock does not know.
var errSecondAgent = errors.New("another weir agent runs in this network namespace: stop it first")

func lockError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errSecondAgent
	}
	return fmt.Errorf("make sure that no other agent runs in this network namespace: %w", err)
}

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
	if err := ops.NotifyReady(); err != nil {
		s.logger.Warn("systemd", "err", err)
	}
	err = g.Wait()
	if notifyErr := ops.NotifyStopping(); notifyErr != nil {
		s.logger.Warn("systemd", "err", notifyErr)
	}
	return err
}

// safePage is a page that a terminal can be shown, too.
func safePage(write func(io.Writer) error) ops.PageFunc {
	return func(w io.Writer, _ *http.Request) error { return write(&safeWriter{w: w}) }
}

// join tells the cluster about this node, as soon as etcd listens and whenever its addresses changed.
func join(ctx context.Context, o *agentOptions, s served) error {
	var told *cluster.Node
	for {
		wait := time.Minute
		node, err := describeNode(o)
		if err == nil {
			node.Monitor = s.monitorURL(ctx, o.node, node.Addresses)
		}
		if err == nil && (!sameNode(told, node) || forgotten(s.agent.Status().Snapshot, o.node)) {
			if err = s.store.Join(ctx, o.node, node); err == nil {
				told = node
			}
		}
		if err != nil {
			s.logger.Debug("join", "err", err)
			wait = 2 * time.Second
		}
		if !runner.Sleep(ctx, wait) {
			return nil
		}
	}
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

// monitorURL is where this node's load monitor answers. One in a process of its own tells that itself, and is not
// contradicted.
func (s served) monitorURL(ctx context.Context, node string, addresses []netip.Addr) string {
	if s.monitor != nil {
		return s.monitor.url(ctx, addresses)
	}
	if snapshot := s.agent.Status().Snapshot; snapshot != nil {
		if known, _ := snapshot.Nodes.Get(node); known != nil {
			return known.Monitor
		}
	}
	return ""
}

// forgotten says whether the cluster does not know the node any more: etcd was wiped, or somebody removed it.
func forgotten(s *cluster.Snapshot, node string) bool {
	if s == nil {
		return false
	}
	_, known := s.Nodes.Get(node)
	return !known
}

// source is the store as the agent needs it.
type source struct {
	store *etcd.Store
	also  func(*cluster.Snapshot) // gets each snapshot, too; nil: nobody does
}

func (s *source) Watch(ctx context.Context, last *cluster.Snapshot, deliver func(*cluster.Snapshot)) error {
	return s.store.Watch(ctx, etcd.WatchOptions{Last: last}, func(snapshot *cluster.Snapshot) {
		deliver(snapshot)
		if s.also != nil {
			s.also(snapshot)
		}
	})
}

func (s *source) Connected() error {
	status := s.store.Status()
	if status.Connected {
		return nil
	}
	if status.LastError == "" {
		return fmt.Errorf("%w: %w", cluster.ErrUnreachable, agent.ErrNotYet)
	}
	return fmt.Errorf("%w since %s: %s", cluster.ErrUnreachable, status.Since.Format(time.RFC3339), status.LastError)
}
