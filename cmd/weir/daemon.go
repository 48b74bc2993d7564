package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/ops"
)

// newRegistry is where a daemon's metrics are, those of every Go process among them.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// safePage is a page that a terminal can be shown, too.
func safePage(write func(io.Writer) error) ops.PageFunc {
	return func(w io.Writer, _ *http.Request) error { return write(&safeWriter{w: w}) }
}

// untilEnd tells systemd that a daemon is ready, waits for its end, and tells of that, too.
func untilEnd(g *errgroup.Group, logger *slog.Logger) error {
	warn := func(err error) {
		if err != nil {
			logger.Warn("systemd", "err", err)
		}
	}
	warn(ops.NotifyReady())
	err := g.Wait()
	warn(ops.NotifyStopping())
	return err
}

// warnOfInsecure says what an etcd means that was permitted by name.
func warnOfInsecure(store *etcd.Store, logger *slog.Logger) {
	if store.Status().Insecure {
		logger.Warn("--insecure-etcd: plain http or no authentication is accepted, so whoever reaches etcd, or the way to it, decides where connections go")
	}
}

// hostName is "" where the host has none.
func hostName() string {
	name, _ := os.Hostname()
	return name
}
