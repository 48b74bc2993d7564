package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/keep"
	"github.com/weir-lb/weir/launcher/logs"
	"github.com/weir-lb/weir/launcher/words"
)

const (
	logsPort = 9651 // where launchers hand out what instances wrote
	logsMost = 32   // at the same time
)

// launcherDoors are the flags of what can be asked of a launcher, and said to it.
type launcherDoors struct {
	logs    string
	reports string
}

func (d *launcherDoors) register(flags *pflag.FlagSet) {
	flags.StringVar(&d.logs, "logs-listen", "", fmt.Sprintf("where weir logs asks for what instances wrote: IP:PORT or :PORT; default: port %d, on loopback unless etcd is reached with a certificate, or on another host with --insecure-etcd", logsPort))
	flags.StringVar(&d.reports, "report-listen", "127.0.0.1:9652", "where launched instances of this host report themselves, a loopback address; empty: nowhere")
}

// check finds what can be known before anything is opened.
func (d *launcherDoors) check(f etcdFlags) error {
	_, err := d.place(f)
	_, rerr := d.reportAddress()
	return errors.Join(err, rerr)
}

// reportAddress is where launched instances report themselves; the zero one: nowhere.
func (d *launcherDoors) reportAddress() (netip.AddrPort, error) {
	return ownHost("--report-listen", d.reports, "and tokens could be tried there from elsewhere")
}

// place is where weir logs asks. On one host a launcher is given --insecure-etcd for want of anybody who asks who writes to
// etcd, which says nothing of the network: there it is loopback, as etcd is.
func (d *launcherDoors) place(f etcdFlags) (doorPlace, error) {
	p, err := f.place("--logs-listen", d.logs, logsPort)
	if d.logs == "" && p.tls == nil && (etcd.Config{Endpoints: f.endpoints}).Local() {
		p.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), logsPort)
	}
	return p, err
}

// shown hands out what is on the shelf.
func (d *launcherDoors) shown(f etcdFlags, shelf logs.Shelf, store *etcd.Store, registry prometheus.Registerer, logger *slog.Logger) (*door.Server, error) {
	place, err := d.place(f)
	if err != nil {
		return nil, err
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "launcher", Name: "logs_requests_total", Help: "Requests for what instances wrote, by the status of the answer."}, []string{"code"})
	registry.MustRegister(requests)
	guard := door.NewGuard(store.Secret, logsMost, logger)
	handler := door.Counted(guard.Before(logs.Handler(shelf, logger)), func(code string) { requests.WithLabelValues(code).Inc() })
	return &door.Server{What: "logs of instances", Address: place.address, TLS: place.tls, Handler: handler, Logger: logger}, nil
}

// tokens are those of the node's instances; nil: nobody listens to them.
func (d *launcherDoors) tokens(stateDir string) (*words.Tokens, error) {
	if d.reports == "" {
		return nil, nil
	}
	return words.OpenTokens(filepath.Join(stateDir, ".tokens"))
}

// given is what an instance speaks to its launcher by.
func (d *launcherDoors) given(tokens *words.Tokens) (func(id string) []string, error) {
	at, err := d.reportAddress()
	if err != nil || tokens == nil {
		return nil, err
	}
	return func(id string) []string {
		return []string{launcher.URLVariable + "=" + words.URL(at, id), launcher.TokenVariable + "=" + tokens.Of(id)}
	}, nil
}

// heard hears the instances.
func (d *launcherDoors) heard(tokens *words.Tokens, keeper *keep.Keeper, registry prometheus.Registerer, logger *slog.Logger) (*door.Server, error) {
	at, err := d.reportAddress()
	handler := words.Handler(tokens, keeper, words.NewMetrics(registry))
	return &door.Server{What: "words of instances", Address: at, Handler: handler, Logger: logger}, err
}
