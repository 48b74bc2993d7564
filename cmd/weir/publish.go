package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type publishOptions struct {
	*app
	services serviceFlags
	wait     waitFlags
	output   outputFlag
	dryRun   bool
	force    bool
}

// outcome is what publish and withdraw print as data.
type outcome struct {
	Plans    []controlcenter.Plan    `json:"plans"`
	Revision int64                   `json:"revision,omitempty"` // 0: nothing was written
	Nodes    *controlcenter.Progress `json:"nodes,omitempty"`    // left out: nobody waited
}

func newPublishCmd(a *app, runF func(context.Context, *publishOptions) error) *cobra.Command {
	o := &publishOptions{app: a}
	c := &cobra.Command{
		Use:   "publish {NAME --vip IP:PORT --instance IP:PORT[=WEIGHT]... | -f FILE}",
		Short: "Create or replace services",
		Long: `Shows what would change, writes it in one transaction for each service, and waits until every live node has it.
Publishing the same again writes nothing. Flags state the whole service, as a file does: what they leave out gets its
default, except the VIPs, which stay.`,
		Example: `  weir controlcenter publish a --vip 10.10.1.128:8080 --instance 192.168.10.100:80 --instance 192.168.10.101:80=2
  weir controlcenter publish -f services.yaml`,
		Args: func(_ *cobra.Command, args []string) error { return o.services.check(args) },
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runPublish(c.Context(), o)
		},
	}
	o.services.register(c.Flags())
	o.wait.register(c.Flags())
	o.output.register(c.Flags(), "none", "none", "json", "yaml", "name")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would change, and stop there")
	o.registerForce(c.Flags())
	return c
}

func (o *publishOptions) registerForce(flags *pflag.FlagSet) {
	flags.BoolVar(&o.force, "force", false, "also when more than half of all instances would go")
}

func (o *publishOptions) how() controlcenter.How {
	return controlcenter.How{Show: func(p controlcenter.Plan) { o.say("%s", p) }, Force: o.force}
}

func runPublish(ctx context.Context, o *publishOptions) error {
	entries, err := o.services.entries(o.app)
	if err != nil {
		return err
	}
	return o.with(ctx, func(s store) error {
		if o.dryRun {
			plans, err := o.planAll(ctx, s, entries)
			if err != nil {
				return err
			}
			for _, p := range plans {
				o.say("%s", p)
			}
			o.warnAdaptive(ctx, s, entries)
			o.say("dry run: nothing was written")
			return o.output.printOutcome(o.app, outcome{Plans: plans})
		}
		return o.publish(ctx, s, entries)
	})
}

// warnAdaptive keeps an operator from waiting for weights that nobody moves. Every leader begins with the token, so that
// without one none has ever led; whoever may not read it is told nothing.
func (a *app) warnAdaptive(ctx context.Context, s store, entries []controlcenter.Entry) {
	adaptive := func(e controlcenter.Entry) bool { return e.Service.Balance == cluster.BalanceAdaptive }
	first := slices.IndexFunc(entries, adaptive)
	if first < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	if token, err := s.Secret(ctx); err == nil && token == "" {
		a.say("warning: service %s: balance adaptive: no control center has led yet, so the weights of the file count until one does (weir controlcenter serve)", entries[first].Service.Name)
	}
}

func (a *app) planAll(ctx context.Context, s store, entries []controlcenter.Entry) ([]controlcenter.Plan, error) {
	snapshot, err := a.snapshot(ctx, s)
	if err != nil {
		return nil, err
	}
	plans, err := controlcenter.PlanAll(snapshot, entries)
	if err != nil {
		return nil, err
	}
	if err := controlcenter.Weigh(ctx, s, snapshot, plans); err != nil && !errors.Is(err, cluster.ErrUnsafe) {
		return nil, err
	}
	return plans, nil // the plans say what would be refused
}

func (o *publishOptions) publish(ctx context.Context, s store, entries []controlcenter.Entry) error {
	limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	done, err := controlcenter.Publish(limited, s, entries, o.how())
	if err != nil {
		for _, p := range done {
			if p.Revision > 0 {
				o.say("service %s was written at revision %d before that", p.Plan.Name, p.Revision)
			}
		}
		return err
	}
	out, want := outcome{}, controlcenter.Awaited{}
	for _, p := range done {
		out.Plans = append(out.Plans, p.Plan)
		out.Revision = max(out.Revision, p.Revision)
		want.Services = append(want.Services, p.Plan.Name)
		// What was written by an earlier publish may not have reached every node yet.
		want.Revision = max(want.Revision, p.Revision, p.Plan.Service.ModRevision)
	}
	o.warnAdaptive(ctx, s, entries)
	return o.finish(ctx, s, out, want)
}

// finish waits and prints.
func (o *publishOptions) finish(ctx context.Context, s store, out outcome, want controlcenter.Awaited) (err error) {
	if out.Nodes, err = o.wait.wait(ctx, o.app, s, want); err != nil {
		return err
	}
	return o.output.printOutcome(o.app, out)
}

func (o outputFlag) printOutcome(a *app, out outcome) error {
	switch o.format {
	case "json", "yaml":
		return printData(a.out, o.format, out)
	case "name":
		l := listing{}
		for _, p := range out.Plans {
			l.names = append(l.names, "service/"+p.Name)
		}
		return l.print(a.out, "name")
	}
	return nil
}
