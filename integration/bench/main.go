// Command bench measures Weir on this machine and prints one table: what, how much, the target, and whether it is met.
// docs/performance.md explains each row. It needs root, works in network namespaces of its own, and removes them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weir-lb/weir/internal/lab"
)

func main() {
	lab.BecomeLaunched()
	lab.BecomeWorker()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// measurement is one group of rows.
type measurement struct {
	name  string
	run   func(*trial)
	apart bool // only when asked for by name
}

var measurements = []measurement{
	{name: "load", run: measureLoad},
	{name: "change", run: measureChange},
	{name: "node", run: measureNode},
	{name: "leader", run: measureLeader},
	{name: "monitor", run: measureMonitor},
	{name: "put", run: measurePut},
	{name: "connect", run: measureConnect},
	{name: "features", run: measureFeatures},
	{name: "drivers", run: measureDrivers},
	{name: "balance", run: measureBalance, apart: true},
	{name: "scale", run: measureScale, apart: true},
	{name: "busy", run: measureBusy, apart: true},
	{name: "drain", run: measureDrain, apart: true},
	{name: "launched", run: measureLaunched, apart: true},
}

func run(args []string, out, log io.Writer) int {
	o, err := parse(args, log)
	if err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report := Report{Machine: machine(), Quick: o.quick}
	var errs []error
	for _, m := range measurements {
		if !o.wants(m) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(log, "bench: %s ...\n", m.name)
		rows, err := try(ctx, o, m, log)
		report.Rows = append(report.Rows, rows...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	errs = append(errs, ctx.Err(), report.write(out, o.output))
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(log, "bench:", err)
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	quick   bool
	only    []string
	output  string
	program string // the weir binary
	etcd    string // an etcd binary; "": the embedded server
	against string // another weir binary, which the monitor is compared with; "": none
	profile string // a directory for profiles of the agents
	hog     int    // the instance that gets a hog in the balance measurement, from 1
}

func (o options) wants(m measurement) bool {
	if len(o.only) == 0 {
		return !m.apart
	}
	return slices.Contains(o.only, m.name)
}

func parse(args []string, log io.Writer) (options, error) {
	o := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	only := ""
	flags.BoolVar(&o.quick, "quick", false, "fewer repetitions, and no large sizes: about a minute")
	flags.StringVar(&only, "only", "", "measure these alone, separated by commas: load, change, node, leader, monitor, put, connect, features, drivers; or balance, scale, busy, drain, launched, which are measured only so")
	flags.StringVar(&o.output, "o", "text", "text or json")
	flags.StringVar(&o.program, "weir", "bin/weir", "the program whose agents are measured")
	flags.StringVar(&o.etcd, "etcd", "etcd", "the etcd server to run; empty: the embedded one, inside this process")
	flags.StringVar(&o.against, "against", "", "monitor: another program, which takes turns with the one that is measured")
	flags.StringVar(&o.profile, "profile", "", "a directory for processor and heap profiles of the agents")
	flags.IntVar(&o.hog, "hog", 2, "balance: the instance that shares its quota in the second half, 1 to 4")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(measurements, func(m measurement) bool { return m.name == name }) {
			return o, fmt.Errorf("there is no measurement %q", name)
		}
	}
	if o.output != "text" && o.output != "json" || flags.NArg() > 0 {
		return o, errors.New("want -o text or -o json, and no further arguments")
	}
	if o.hog < 1 || o.hog > len(balanceWeights) {
		return o, fmt.Errorf("there is no instance %d for a hog", o.hog)
	}
	var err error
	if o.program, err = filepath.Abs(o.program); err != nil {
		return o, err
	}
	if o.against != "" {
		if o.against, err = filepath.Abs(o.against); err != nil {
			return o, err
		}
	}
	if _, err := os.Stat(o.program); err != nil {
		return o, fmt.Errorf("%w: run make build first", err)
	}
	if o.etcd != "" {
		if o.etcd, err = exec.LookPath(o.etcd); err != nil {
			return o, err
		}
	}
	return o, nil
}

// pick is the size of a measurement: the full one, or that of --quick.
func pick[T any](t *trial, full, quick T) T {
	if t.o.quick {
		return quick
	}
	return full
}
