package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
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
	flags.StringVar(&o.listen, "load-listen", "", fmt.Sprintf("where control centers ask the load monitor: IP:PORT or :PORT; default: port %d, on loopback unless etcd is reached with a certificate", monitorPort))
	flags.StringVar(&o.reports, "report-listen", check.ReportAddress.String(), "where instances of this host report themselves, a loopback address; empty: nowhere")
	flags.BoolVar(&o.allowExec, "allow-exec-checks", false, "run the programs that services give as their exec checks, as the user of this process")
}

// monitorPlace is where a load monitor listens, and how.
type monitorPlace struct {
	address netip.AddrPort
	tls     *door.Credential
	etcd    string // an endpoint, the way to which says by which address others reach this node
}

// check finds what can be known before anything is opened.
func (o *monitorOptions) check(f etcdFlags) error {
	_, err := o.place(f)
	_, rerr := o.reportAddress()
	return errors.Join(err, rerr)
}

// reportAddress is where instances report themselves; the zero one: nowhere.
func (o *monitorOptions) reportAddress() (address netip.AddrPort, err error) {
	if o.reports == "" {
		return address, nil
	}
	if address, err = netip.ParseAddrPort(o.reports); err != nil || address.Port() == 0 {
		return address, &usageError{fmt.Errorf("--report-listen %q: want IP:PORT", o.reports)}
	}
	if !address.Addr().Unmap().IsLoopback() {
		return address, fmt.Errorf("%w: --report-listen %s is not loopback, and whoever reaches it speaks for this host's instances", cluster.ErrUnsafe, o.reports)
	}
	return address, nil
}

// place decides where to listen: beyond loopback by TLS, or where --insecure-etcd says that the network is trusted.
func (o *monitorOptions) place(f etcdFlags) (p monitorPlace, err error) {
	if len(f.endpoints) > 0 {
		p.etcd = f.endpoints[0]
	}
	p.tls = f.credential()
	p.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), monitorPort)
	if p.tls != nil || f.insecure {
		p.address = netip.AddrPortFrom(netip.IPv6Unspecified(), monitorPort)
	}
	if o.listen == "" {
		return p, nil
	}
	listen := o.listen
	if strings.HasPrefix(listen, ":") {
		listen = "[::]" + listen
	}
	if p.address, err = netip.ParseAddrPort(listen); err != nil || p.address.Port() == 0 {
		return p, &usageError{fmt.Errorf("--load-listen %q: want IP:PORT or :PORT", o.listen)}
	}
	p.address = netip.AddrPortFrom(p.address.Addr().Unmap(), p.address.Port())
	if !p.address.Addr().IsLoopback() && p.tls == nil && !f.insecure {
		return p, fmt.Errorf("%w: --load-listen %s is not loopback, and without TLS its token could be read on the way: give --etcd-ca, --etcd-cert and --etcd-key for an etcd with https, or --insecure-etcd if the network is trusted", cluster.ErrUnsafe, o.listen)
	}
	return p, nil
}

// url is where others find it, given the node's addresses and the port that it listens on.
func (p monitorPlace) url(ctx context.Context, addresses []netip.Addr, port uint16) string {
	addr := p.address.Addr()
	if addr.IsUnspecified() {
		if len(addresses) == 0 {
			return ""
		}
		if addr = outbound(ctx, p.etcd); !slices.Contains(addresses, addr) {
			addr = addresses[0]
		}
	}
	u := url.URL{Scheme: "http", Host: netip.AddrPortFrom(addr, port).String()}
	if p.tls != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// outbound is this host's address on the way to etcd: others are found there, too. No packet is sent.
func outbound(ctx context.Context, endpoint string) (none netip.Addr) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "unix" {
		return none
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", u.Host)
	if err != nil {
		return none
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return none
	}
	return local.AddrPort().Addr().Unmap()
}

// credential is what load monitors and those who ask them know each other by; nil where etcd is not reached by TLS with a
// client certificate.
func (f etcdFlags) credential() *door.Credential {
	c, err := f.config()
	if err != nil || !c.Encrypted() || f.ca == "" || f.cert == "" || f.key == "" {
		return nil
	}
	return &door.Credential{CA: f.ca, Cert: f.cert, Key: f.key}
}

// monitors is the client of all nodes' load monitors.
func (f etcdFlags) monitors(secret func(context.Context) (string, error)) *monitor.Client {
	return &monitor.Client{Client: f.asks(secret)}
}

// asks is what all clients of nodes go by.
func (f etcdFlags) asks(secret func(context.Context) (string, error)) door.Client {
	return door.Client{Token: secret, TLS: f.credential(), Insecure: f.insecure, Loopback: etcd.Config{Endpoints: f.endpoints}.Local()}
}

// nodeMonitor is this node's running load monitor.
type nodeMonitor struct {
	*monitor.Monitor
	checker *check.Checker
	place   monitorPlace
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
	host.Unanswered = checker.Signs
	asker := sample.NewAsker(sample.AskerOptions{Node: w.node, Told: heed(checker)})
	metrics := monitor.NewMetrics(w.registry)
	m, err := monitor.New(monitor.Config{
		Node: w.node, Sampler: sample.NewSampler(w.node, host, runtime.NumCPU()), Checker: checker, Asker: asker, Store: w.store, Logger: w.logger, Metrics: metrics,
		See: sample.NewMetrics(w.registry).See,
	})
	if err != nil {
		return nil, err
	}
	server := &door.Server{What: monitor.What, Address: place.address, TLS: place.tls, Handler: m.Handler(), Logger: w.logger, Failed: metrics.CannotListen}
	n := &nodeMonitor{Monitor: m, checker: checker, place: place, servers: []*door.Server{server}, troubles: []func() []cluster.Problem{checker.Problems, asker.Problems}}
	if sees, err := seesProcesses(); err == nil && !sees {
		n.troubles = append(n.troubles, func() []cluster.Problem { return unseen(w.node, m.Unmeasured()) })
	}
	if reports.IsValid() {
		n.servers = append(n.servers, &door.Server{What: "reports of instances", Address: reports, Handler: check.Reports(checker), Logger: w.logger, Failed: metrics.CannotListen})
	}
	return n, nil
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
