package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/launcher/logs"
)

const (
	logsPort = 9651 // where launchers hand out what instances wrote
	logsMost = 32   // at the same time
)

// launcherDoors are the flags of what can be asked of a launcher, and said to it.
type launcherDoors struct {
	logs string
}

func (d *launcherDoors) register(flags *pflag.FlagSet) {
	flags.StringVar(&d.logs, "logs-listen", "", fmt.Sprintf("where weir logs asks for what instances wrote: IP:PORT or :PORT; default: port %d, on loopback unless etcd is reached with a certificate", logsPort))
}

// check finds what can be known before anything is opened.
func (d *launcherDoors) check(f etcdFlags) error {
	_, err := d.place(f)
	return err
}

func (d *launcherDoors) place(f etcdFlags) (doorPlace, error) {
	return f.place("--logs-listen", d.logs, logsPort)
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
