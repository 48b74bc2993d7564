package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/sample"
)

type loadmonOptions struct {
	*app
	driver   driverFlags
	node     string
	monitor  monitorOptions
	pages    pageFlags
	logs     logOptions
	once     bool
	interval time.Duration
	output   outputFlag
}

func newLoadmonCmd(a *app, runF func(context.Context, *loadmonOptions) error) *cobra.Command {
	o := &loadmonOptions{app: a}
	c := &cobra.Command{
		Use:   "loadmon",
		Short: "Run this node's load monitor in a process of its own, or measure once",
		Long: `Watch this node's instances: measure them when a control center asks for loads, at most every 2.5 seconds, and unasked every 6;
check them as their services say, and write to etcd which are not well, and what cannot be checked here. An agent does the same unless
it has --loadmon=false: run this beside such an agent, where the process that writes rules shall stay small.

With --once measure over one interval, and print what it would report. An instance is listed when a process of this network
namespace listens on its address; new connections are those that this node's rules count.

Pages on --listen: /livez /readyz /metrics /debug/checks /debug/loads /debug/problems.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(c.Flags()); err != nil {
				return err
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			if !o.once {
				return serveLoadmon(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runLoadmon(c.Context(), o, s) })
		},
	}
	c.Flags().StringVar(&o.node, "node", hostName(), "this node's name in the cluster")
	c.Flags().BoolVar(&o.once, "once", false, "measure once and print it")
	c.Flags().DurationVar(&o.interval, "interval", loadmon.Interval, "with --once: how long to measure")
	o.driver.register(c.Flags())
	o.monitor.register(c.Flags())
	o.pages.register(c.Flags(), "127.0.0.1:9649")
	o.logs.addTo(c)
	o.output.register(c.Flags(), "table", "table", "json", "yaml")
	return c
}

// check finds what can be known before anything is opened.
func (o *loadmonOptions) check(flags *pflag.FlagSet) error {
	if why := cluster.ValidName(o.node); why != "" {
		return &usageError{fmt.Errorf("--node: %s", why)}
	}
	if o.interval <= 0 {
		return &usageError{fmt.Errorf("--interval %s is not positive", o.interval)}
	}
	for _, name := range []string{"interval", "output"} {
		if flags.Changed(name) && !o.once {
			return &usageError{fmt.Errorf("--%s is for --once", name)}
		}
	}
	if err := o.driver.check(); err != nil || o.once {
		return err
	}
	return errors.Join(o.monitor.check(o.etcd), o.pages.check())
}

func runLoadmon(ctx context.Context, o *loadmonOptions, s store) error {
	snapshot, err := o.snapshot(ctx, s)
	if err != nil {
		return err
	}
	if _, known := snapshot.Nodes.Get(o.node); !known {
		return fmt.Errorf("there is no node %q: see weir get nodes", o.node)
	}
	locals := loadmon.Locals(snapshot, o.node)
	driver, _, err := o.driver.look(ctx)
	if err != nil {
		return err
	}
	defer driver.Close()
	host, err := sample.NewKernel(driver.LocalCounts)
	if err != nil {
		return err
	}
	report, err := measure(ctx, sample.NewSampler(o.node, host, runtime.NumCPU()), locals, o.interval)
	if err != nil {
		return err
	}
	if len(report.Loads) < len(locals) {
		o.say("%d of %d instances of node %s have no process here that could be measured", len(locals)-len(report.Loads), len(locals), o.node)
	}
	return loads(report).print(o.out, o.output.format)
}

// measure takes two samples.
func measure(ctx context.Context, s *sample.Sampler, locals []loadmon.Local, interval time.Duration) (loadmon.Report, error) {
	if _, err := s.Sample(ctx, locals, time.Now()); err != nil {
		return loadmon.Report{}, err
	}
	if !runner.Sleep(ctx, interval) {
		return loadmon.Report{}, ctx.Err()
	}
	return s.Sample(ctx, locals, time.Now())
}

func loads(r loadmon.Report) listing {
	l := listing{columns: []string{"SERVICE", "INSTANCE", "NEW/S", "ACTIVE", "BUSY"}, narrow: 5, data: r}
	for _, i := range r.Loads {
		l.rows = append(l.rows, []string{
			i.Service, i.Instance, fmt.Sprintf("%.1f", float64(i.Connections)/r.UptimeS), fmt.Sprint(i.Active), fmt.Sprintf("%.0f%%", 100*i.Busy),
		})
	}
	return l
}
