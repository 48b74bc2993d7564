package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/simulate"
)

type simulateOptions struct {
	*app
	scenario simulate.Scenario
	output   outputFlag
}

func newSimulateCmd(a *app, runF func(context.Context, *simulateOptions) error) *cobra.Command {
	o := &simulateOptions{app: a, scenario: simulate.Default()}
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Compare uniform, static and adaptive weights on instances that exist only here",
		Long: `Simulates a service: instances with queues, connections that arrive at random, and the weights that the leader would decide
from what load monitors would report. uniform gives all instances alike, static the true speeds, adaptive starts alike and
follows the load. All three meet the same requests. Nothing is read from or written to etcd.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runSimulate(c.Context(), o)
		},
	}
	flags, s := c.Flags(), &o.scenario
	flags.Float64SliceVar(&s.Speeds, "speeds", s.Speeds, "speed of each instance; 1 does the work of a request in its time")
	flags.Float64Var(&s.Load, "load", s.Load, "requests, as a part of what all instances can take together")
	flags.DurationVar(&s.Work, "work", s.Work, "mean work of a request at speed 1, exponentially distributed")
	flags.DurationVar(&s.Length, "for", s.Length, "time that is measured")
	flags.DurationVar(&s.Warmup, "warmup", s.Warmup, "time before, in which adaptive finds its weights")
	flags.DurationVar(&s.KeepAlive, "keep-alive", s.KeepAlive, "mean life of a connection that asks once a second; 0: a connection for each request")
	flags.IntVar(&s.Neighbour.Instance, "neighbour", 0, "instance, from 1, of which another program takes the processor; 0: none")
	flags.DurationVar(&s.Neighbour.At, "neighbour-at", s.Length/5, "when it comes, after the warm-up")
	flags.DurationVar(&s.Neighbour.For, "neighbour-for", 0, "how long it stays; 0: until the end")
	flags.Float64Var(&s.Neighbour.Leaves, "neighbour-leaves", 0.5, "part of its speed that the instance keeps")
	flags.Float64Var(&s.Lost, "lost", 0, "part of the load monitors' reports that do not arrive")
	flags.Uint64Var(&s.Seed, "seed", s.Seed, "of chance: the same seed gives the same result")
	o.output.register(flags, "table", "table", "json", "yaml")
	return c
}

// simulated is the output as data.
type simulated struct {
	Scenario string             `json:"scenario"`
	Seed     uint64             `json:"seed"`
	Policies []simulate.Outcome `json:"policies"`
}

func runSimulate(ctx context.Context, o *simulateOptions) error {
	if err := o.scenario.Validate(); err != nil {
		return &usageError{fmt.Errorf("%w: see weir simulate --help", err)}
	}
	data := simulated{Scenario: o.scenario.String(), Seed: o.scenario.Seed}
	for _, policy := range simulate.Policies {
		if err := ctx.Err(); err != nil {
			return err
		}
		data.Policies = append(data.Policies, simulate.Run(o.scenario, policy))
	}
	if o.output.format == "table" {
		fmt.Fprintln(o.out, data.Scenario)
	}
	return simulation(data).print(o.out, o.output.format)
}

// simulation is the table. What happened while there was a neighbour is a column only where there was one.
func simulation(data simulated) listing {
	l := listing{columns: []string{"POLICY", "P50 MS", "P99 MS", "BUSY MAX/MEAN", "WRITES", "SHARES", "WITH NEIGHBOUR"}, data: data}
	l.narrow = len(l.columns) - 1
	for _, p := range data.Policies {
		late := ""
		if p.BusyLate > 0 {
			late, l.narrow = fmt.Sprintf("%.3f", p.BusyLate), len(l.columns)
		}
		shares := make([]string, len(p.Shares))
		for i, share := range p.Shares {
			shares[i] = fmt.Sprintf("%.1f", 100*share)
		}
		l.rows = append(l.rows, []string{
			p.Name, fmt.Sprintf("%.1f", p.P50MS), fmt.Sprintf("%.1f", p.P99MS), fmt.Sprintf("%.3f", p.BusyMaxMean),
			fmt.Sprint(p.Writes), strings.Join(shares, " "), late,
		})
	}
	return l
}
