package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/top"
)

type getOptions struct {
	*app
	kind   string // services, instances, nodes, problems
	name   string
	sample time.Duration
	output outputFlag
}

func newGetCmd(a *app) *cobra.Command {
	return a.group("get", "List services, instances, nodes or problems",
		newGetKindCmd(a, "services", "Services and how many instances take connections", nil),
		newGetKindCmd(a, "instances", "Instances of all services or of one, with weight, share and why they are not served", nil),
		newGetKindCmd(a, "nodes", "Nodes and what they have applied", nil),
		newGetKindCmd(a, "problems", "What is wrong with services, or with one: what nodes and launchers tell, and what cannot be placed", nil),
	)
}

func newGetKindCmd(a *app, kind, short string, runF func(context.Context, *getOptions) error) *cobra.Command {
	o := &getOptions{app: a, kind: kind}
	c := &cobra.Command{
		Use: kind + " [NAME]", Aliases: []string{strings.TrimSuffix(kind, "s")}, Short: short,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.name = args[0]
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runGet(c.Context(), o)
		},
	}
	o.output.register(c.Flags(), "table", formats...)
	if kind == "instances" {
		c.Flags().DurationVar(&o.sample, "sample", time.Second, "how long to count connections for the share that each has, where this is a node; not for table and name")
	}
	return c
}

func runGet(ctx context.Context, o *getOptions) error {
	return o.with(ctx, func(s store) error {
		snapshot, err := o.snapshot(ctx, s)
		if err != nil {
			return err
		}
		l, err := o.list(ctx, s, snapshot)
		if err != nil {
			return err
		}
		return l.print(o.out, o.output.format)
	})
}

func (o *getOptions) list(ctx context.Context, s store, snapshot *cluster.Snapshot) (listing, error) {
	switch o.kind {
	case "services":
		rows, err := controlcenter.Services(snapshot, o.name)
		if err == nil && o.whole() {
			addLoads(o.picture(ctx, s, snapshot, hosting(snapshot, o.name)), rows, nil, nil)
		}
		return servicesListing(rows), err
	case "instances":
		rows, err := controlcenter.Instances(snapshot, o.name, o.now())
		if err == nil && o.whole() {
			addLoads(o.picture(ctx, s, snapshot, hosting(snapshot, o.name)), nil, rows, nil)
			controlcenter.AddHave(rows, snapshot, sampleCounts(ctx, o.sample))
		}
		return instancesListing(rows), err
	case "problems":
		fleet, err := o.complaining(ctx, s)
		if err != nil {
			return listing{}, err
		}
		told, err := o.troubled(ctx, s, snapshot, fleet)
		if err != nil {
			return listing{}, err
		}
		rows, err := controlcenter.Troubles(snapshot, told, o.name)
		return troublesListing(rows, o.now()), err
	}
	fleet, err := o.told(ctx, s)
	if err != nil {
		return listing{}, err
	}
	rows, err := controlcenter.Nodes(snapshot, fleet, o.name, o.now())
	if err == nil && o.whole() {
		asked := slices.DeleteFunc(top.Asked(snapshot), func(node string) bool { return o.name != "" && node != o.name })
		addLoads(o.picture(ctx, s, snapshot, asked), nil, nil, rows)
	}
	return nodesListing(rows), err
}

// whole says whether the columns are wanted for which somebody has to be asked beside etcd.
func (o *getOptions) whole() bool { return o.output.format != "table" && o.output.format != "name" }

// picture is what the load monitors say; what they do not is a warning, for the rest is worth showing.
func (o *getOptions) picture(ctx context.Context, s store, snapshot *cluster.Snapshot, asked []string) top.Frame {
	past, notes := o.measured(ctx, s, snapshot, asked)
	for _, note := range notes {
		o.say("warning: %s", note)
	}
	return new(top.Board).Frame(top.Scene{Snapshot: snapshot, Past: past, Now: o.now()})
}

// told is all that the nodes told of themselves, and the leader of those that are gone.
func (a *app) told(ctx context.Context, s store) (f controlcenter.Fleet, err error) {
	if f, err = a.complaining(ctx, s); err != nil {
		return f, err
	}
	if f.Repairs, err = beside(ctx, a, s.Repairs); err != nil {
		return f, err
	}
	f.Gone, err = beside(ctx, a, s.Gone)
	return f, err
}

// complaining is what the nodes have told, and what those of their load monitors complain of whose agents do not tell it.
func (a *app) complaining(ctx context.Context, s store) (f controlcenter.Fleet, err error) {
	if f, err = a.fleet(ctx, s); err != nil {
		return f, err
	}
	f.Loadmons, err = beside(ctx, a, s.Loadmons)
	return f, err
}

// fleet asks once what the agents have told.
func (a *app) fleet(ctx context.Context, s store) (f controlcenter.Fleet, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	err = s.WatchApplied(ctx, func(alive map[string]bool, applied map[string]cluster.Applied) bool {
		f = controlcenter.Fleet{Alive: alive, Applied: applied}
		return true
	})
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cluster.ErrUnreachable) {
		err = fmt.Errorf("%w: %w", cluster.ErrUnreachable, err)
	}
	return f, err
}

// beside asks for what is said of nodes beside the rest. A role that was made by an older version may not read it; the
// rest is worth showing all the same.
func beside[T any](ctx context.Context, a *app, ask func(context.Context) (map[string]T, error)) (map[string]T, error) {
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	said, err := ask(ctx)
	if errors.Is(err, cluster.ErrDenied) {
		a.say("warning: %v", err)
		return nil, nil
	}
	return said, err
}
