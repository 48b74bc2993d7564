package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type getOptions struct {
	*app
	kind   string // services, instances, nodes
	name   string
	sample time.Duration
	output outputFlag
}

func newGetCmd(a *app) *cobra.Command {
	return a.group("get", "List services, instances or nodes",
		newGetKindCmd(a, "services", "Services and how many instances take connections", nil),
		newGetKindCmd(a, "instances", "Instances of all services or of one, with weight, share and why they are not served", nil),
		newGetKindCmd(a, "nodes", "Nodes and what they have applied", nil),
	)
}

func newGetKindCmd(a *app, kind, short string, runF func(context.Context, *getOptions) error) *cobra.Command {
	o := &getOptions{app: a, kind: kind}
	c := &cobra.Command{
		Use: kind + " [NAME]", Aliases: []string{strings.TrimSuffix(kind, "s")}, Short: short,
		Args: cobra.MaximumNArgs(1),
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
		return servicesListing(rows), err
	case "instances":
		rows, err := controlcenter.Instances(snapshot, o.name, o.now())
		if o.output.format != "table" && o.output.format != "name" {
			controlcenter.AddHave(rows, snapshot, sampleCounts(ctx, o.sample))
		}
		return instancesListing(rows), err
	}
	fleet, err := o.fleet(ctx, s)
	if err != nil {
		return listing{}, err
	}
	if fleet.Repairs, err = beside(ctx, o.app, s.Repairs); err != nil {
		return listing{}, err
	}
	if fleet.Gone, err = beside(ctx, o.app, s.Gone); err != nil {
		return listing{}, err
	}
	rows, err := controlcenter.Nodes(snapshot, fleet, o.name, o.now())
	return nodesListing(rows), err
}

// fleet asks once what the nodes have told.
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

func servicesListing(rows []controlcenter.ServiceRow) listing {
	l := listing{columns: []string{"NAME", "FRONTENDS", "TAKING", "STATUS", "BALANCE", "AFFINITY", "LOCALITY", "SOURCES", "REVISION", "PROBLEMS"}, narrow: 5, data: orEmpty(rows)}
	for _, r := range rows {
		l.names = append(l.names, "service/"+r.Name)
		l.rows = append(l.rows, []string{
			r.Name, strings.Join(r.Frontends, ","), fmt.Sprintf("%d/%d", r.Taking, r.Instances), r.Status, r.Balance, r.Affinity, r.Locality, r.Sources,
			strconv.FormatInt(r.Revision, 10), errorsOf(r.Problems),
		})
	}
	return l
}

func instancesListing(rows []controlcenter.InstanceRow) listing {
	l := listing{columns: []string{"SERVICE", "INSTANCE", "STATE", "WEIGHT", "SHARE", "AGE", "REASON", "HAVE", "ADDRESS", "NODE", "FROM", "LABELS"}, narrow: 7, data: orEmpty(rows)}
	for _, r := range rows {
		var labels []string
		for k, v := range r.Labels {
			labels = append(labels, k+"="+v)
		}
		l.names = append(l.names, "instance/"+r.Service+"/"+r.ID)
		l.rows = append(l.rows, []string{
			r.Service, r.ID, string(r.State), strconv.Itoa(r.Weight), percent(&r.Share), ago(r.Age), r.Reason,
			percent(r.Have), r.Address, r.Node, r.From, sortedJoin(labels),
		})
	}
	return l
}

func percent(share *float64) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("%.1f%%", *share)
}

// firstProblems keeps a line a line: -o json has more of them, /debug/problems on the node all.
func firstProblems(r controlcenter.NodeRow) string {
	const few = 3
	text := errorsOf(r.Problems[:min(few, len(r.Problems))])
	if more := r.ProblemCount - few; more > 0 {
		text += fmt.Sprintf("; %d more", more)
	}
	return text
}

// lastRepair is one repair in words: "table ip weir: rule made by nft (pid 7) at 12:00:00, wrong for 2 ms".
func lastRepair(r *cluster.Repair) string {
	if r == nil {
		return ""
	}
	text := r.What
	if r.Who != "" {
		text += " by " + r.Who
	}
	return fmt.Sprintf("%s at %s, wrong for %.0f ms", text, r.At.Format(time.RFC3339), r.WrongMS)
}

func nodesListing(rows []controlcenter.NodeRow) listing {
	l := listing{columns: []string{"NAME", "STATE", "SINCE", "APPLIED", "LAG", "PROBLEMS", "REPAIRS", "STALE", "AGE", "VERSION", "REASON", "TOOK", "INSTANCES", "ADDRESSES", "WHAT", "LAST REPAIR"}, narrow: 11, data: orEmpty(rows)}
	for _, r := range rows {
		l.names = append(l.names, "node/"+r.Name)
		l.rows = append(l.rows, []string{
			r.Name, r.State, ago(r.For), strconv.FormatInt(r.Applied, 10), strconv.FormatInt(r.Lag, 10), strconv.Itoa(r.ProblemCount), strconv.Itoa(r.Repairs), strconv.FormatBool(r.Stale),
			ago(r.Age), r.Version, r.Reason, fmt.Sprintf("%.1f ms", r.TookMS), strconv.Itoa(r.Instances), strings.Join(r.Addresses, ","), firstProblems(r), lastRepair(r.LastRepair),
		})
	}
	return l
}
