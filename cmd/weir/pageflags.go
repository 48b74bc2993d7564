package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/ops"
)

// pageFlags say where a daemon shows health, metrics and debug pages.
type pageFlags struct {
	listen      string
	allowRemote bool
	hosts       []string
	pprof       bool
}

func (f *pageFlags) register(flags *pflag.FlagSet, listen string) {
	flags.StringVar(&f.listen, "listen", listen, "address of health, metrics and debug pages; empty: none")
	flags.BoolVar(&f.allowRemote, "listen-remote", false, "permit --listen beyond loopback; the pages have no login")
	flags.StringSliceVar(&f.hosts, "listen-host", nil, "names by which others may ask for the pages, beside the address itself")
	flags.BoolVar(&f.pprof, "pprof", false, "profiles under /debug/pprof/")
}

func (f *pageFlags) options(metrics prometheus.Gatherer) ops.Options {
	return ops.Options{Address: f.listen, AllowRemote: f.allowRemote, Hosts: f.hosts, Metrics: metrics, Pprof: f.pprof}
}

// check finds what is wrong with the address before anything is opened.
func (f *pageFlags) check() error {
	if f.listen == "" {
		return nil
	}
	err := f.options(nil).Check()
	if errors.Is(err, ops.ErrRemote) {
		return fmt.Errorf("%w: --listen %s: whoever reaches it reads the pages, for they have no login: use a loopback address, or --listen-remote", cluster.ErrUnsafe, f.listen)
	}
	if err != nil {
		return &usageError{fmt.Errorf("--listen: %w", err)}
	}
	return nil
}

// open opens the listener of the pages; nil where there are to be none.
func (f *pageFlags) open(metrics prometheus.Gatherer) (*ops.Server, error) {
	if f.listen == "" {
		return nil, nil
	}
	server, err := ops.Listen(f.options(metrics))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: choose another address with --listen, or none with --listen=", err)
	}
	return server, err
}
