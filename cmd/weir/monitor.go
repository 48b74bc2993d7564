package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/monitor"
	"github.com/weir-lb/weir/loadmon/sample"
)

// monitorPort is where load monitors listen.
const monitorPort = 9647

// monitorOptions are the flags of a node's load monitor.
type monitorOptions struct {
	listen    string
	reports   string
	allowExec bool
}

func (o *monitorOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.listen, "load-listen", "", fmt.Sprintf("where control centers ask the load monitor: IP:PORT or :PORT; default: port %d, on loopback unless etcd is reached with a certificate, or with --insecure-etcd", monitorPort))
	flags.StringVar(&o.reports, "report-listen", check.ReportAddress.String(), "where instances of this host report themselves, a loopback address; empty: nowhere")
	flags.BoolVar(&o.allowExec, "allow-exec-checks", false, "run the programs that services give as their exec checks, as the user of this process")
}

// check finds what can be known before anything is opened.
func (o *monitorOptions) check(f etcdFlags) error {
	_, err := o.place(f)
	_, rerr := o.reportAddress()
	return errors.Join(err, rerr)
}

// reportAddress is where instances report themselves; the zero one: nowhere.
func (o *monitorOptions) reportAddress() (netip.AddrPort, error) {
	return ownHost("--report-listen", o.reports, "and whoever reaches it speaks for this host's instances")
}

// place is where the load monitor is asked.
func (o *monitorOptions) place(f etcdFlags) (doorPlace, error) {
	return f.place("--load-listen", o.listen, monitorPort)
}

// monitors is the client of all nodes' load monitors.
func (f etcdFlags) monitors(secret func(context.Context) (string, error)) *monitor.Client {
	return &monitor.Client{Client: f.asks(secret)}
}

// nodeMonitor is this node's running load monitor.
type nodeMonitor struct {
	*monitor.Monitor
	checker *check.Checker
	hear    func(context.Context) error // of refused connections
	place   doorPlace
	servers []*door.Server // the first answers control centers

	troubles []func() []cluster.Problem
}

// watching is what a load monitor works with.
type watching struct {
	node     string
	driver   driver // whose rules count
	store    monitor.Store
	registry prometheus.Registerer
	logger   *slog.Logger

	complainer monitor.Complainer // of one that is a process of its own; nil: the agent tells
}

// start makes the load monitor and begins to listen.
func (o *monitorOptions) start(f etcdFlags, w watching) (*nodeMonitor, error) {
	place, err := o.place(f)
	if err != nil {
		return nil, err
	}
	reports, err := o.reportAddress()
	if err != nil {
		return nil, err
	}
	host, err := sample.NewKernel(w.driver.LocalCounts)
	if err != nil {
		return nil, fmt.Errorf("load monitor: %w", err)
	}
	checker := check.New(check.Options{Node: w.node, AllowExec: o.allowExec, Listening: sample.Listening, Logger: w.logger.With("node", w.node)})
	host.Failed = checker.Signs
	asker := sample.NewAsker(sample.AskerOptions{Node: w.node, Told: heed(checker), Wished: grant(checker)})
	metrics := monitor.NewMetrics(w.registry)
	n := &nodeMonitor{checker: checker, place: place, troubles: []func() []cluster.Problem{checker.Problems, asker.Problems}}
	m, err := monitor.New(monitor.Config{
		Node: w.node, Sampler: sample.NewSampler(w.node, host, runtime.NumCPU()), Checker: checker, Asker: asker, Store: w.store, Logger: w.logger, Metrics: metrics,
		See: sample.NewMetrics(w.registry).See, Complainer: w.complainer, Problems: n.problems,
	})
	if err != nil {
		return nil, err
	}
	server := &door.Server{What: monitor.What, Address: place.address, TLS: place.tls, Handler: m.Handler(), Logger: w.logger, Failed: metrics.CannotListen}
	n.Monitor, n.servers = m, []*door.Server{server}
	n.hear = func(ctx context.Context) error { return host.Hear(ctx, deaf(w.logger)) }
	if sees, err := seesProcesses(); err == nil && !sees {
		n.troubles = append(n.troubles, func() []cluster.Problem { return unseen(w.node, m.Unmeasured()) })
	}
	if reports.IsValid() {
		n.servers = append(n.servers, &door.Server{What: "reports of instances", Address: reports, Handler: check.Reports(checker), Logger: w.logger, Failed: metrics.CannotListen})
	}
	return n, nil
}

// deaf says once why refused connections are not heard of. Checks, and connections without an answer, count without it.
func deaf(logger *slog.Logger) func(error) {
	var said bool
	return func(err error) {
		if !said {
			logger.Warn("refused connections do not count as failures", "err", err)
		}
		said = true
	}
}

// heed hands what instances say to agent-checks to who judges them.
func heed(to check.Teller) func(sample.ID, sample.Word) {
	states := map[sample.State]check.State{
		sample.Up: check.OK, sample.Down: check.Fail, sample.Fail: check.Fail, sample.Stopped: check.Fail,
		sample.Ready: check.Back, sample.Drain: check.Leave, sample.Maint: check.Leave,
	}
	return func(id sample.ID, w sample.Word) {
		// Of an instance that has gone meanwhile there is nothing to say any more.
		_ = to.Tell(check.ID(id), check.Word{State: states[w.State], Output: w.Reason})
	}
}

// grant hands the parts of their weights that instances wish to who takes out those that wish for nothing.
func grant(to *check.Checker) func(sample.ID, float64) {
	return func(id sample.ID, part float64) { _ = to.Wish(check.ID(id), part) } // as above
}

// unseen is the Problem of instances whose processes this one may not look into.
func unseen(node string, n int) []cluster.Problem {
	if n == 0 {
		return nil
	}
	return []cluster.Problem{{
		Object: "node " + node, Field: "loadmon",
		What: "instances of adaptive services here have no figures, so their weights stay, and this process may not look into those of other users",
		Fix:  "give it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or run weir loadmon with them beside an agent with --loadmon=false",
	}}
}

// problems are what cannot be checked or asked here.
func (n *nodeMonitor) problems() (out []cluster.Problem) {
	for _, troubles := range n.troubles {
		out = append(out, troubles()...)
	}
	slices.SortFunc(out, cluster.Problem.Compare)
	return out
}

func (n *nodeMonitor) writeProblems(w io.Writer) error {
	for _, p := range n.problems() {
		if _, err := fmt.Fprintln(w, p.Error()); err != nil {
			return err
		}
	}
	return nil
}

// open begins to listen. What cannot be opened is tried again.
func (n *nodeMonitor) open() error {
	var errs []error
	for _, s := range n.servers {
		errs = append(errs, s.Open())
	}
	return errors.Join(errs...)
}

// Run monitors and answers until the context ends, and returns nil then.
func (n *nodeMonitor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.Monitor.Run(ctx) })
	g.Go(func() error { return n.hear(ctx) })
	for _, s := range n.servers {
		g.Go(func() error { return s.Run(ctx) })
	}
	return g.Wait()
}

// url is where the node's load monitor answers now; "": nowhere.
func (n *nodeMonitor) url(ctx context.Context, addresses []netip.Addr) string {
	port := n.servers[0].Port()
	if port == 0 {
		return ""
	}
	return n.place.url(ctx, addresses, port)
}
