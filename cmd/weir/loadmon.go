package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/sample"
)

type loadmonOptions struct {
	*app
	driver   driverFlags
	node     string
	interval time.Duration
	output   outputFlag
}

func newLoadmonCmd(a *app, runF func(context.Context, *loadmonOptions) error) *cobra.Command {
	o := &loadmonOptions{app: a}
	c := &cobra.Command{
		Use:   "loadmon",
		Short: "Measure the instances of this node once: connections, and how busy they are",
		Long: `Measure the instances of this node over one interval and print what a load monitor would report of them. An instance is listed
when a process of this network namespace listens on its address; new connections are those that this node's rules count.
Nothing uses these figures yet.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.interval <= 0 {
				return &usageError{fmt.Errorf("--interval %s is not positive", o.interval)}
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runLoadmon(c.Context(), o, s) })
		},
	}
	name, _ := os.Hostname()
	c.Flags().StringVar(&o.node, "node", name, "this node's name in the cluster")
	c.Flags().DurationVar(&o.interval, "interval", loadmon.Interval, "how long to measure")
	o.driver.register(c.Flags())
	o.output.register(c.Flags(), "table", "table", "json", "yaml")
	return c
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
