package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/ipt"
	"github.com/weir-lb/weir/rules/nft"
)

func newRulesCmd(a *app) *cobra.Command {
	return a.group("rules", "Look at the rules of this node, compare them with etcd, remove them",
		newRulesShowCmd(a),
		newRulesDiffCmd(a),
		newRulesCleanCmd(a),
	)
}

type rulesShowOptions struct {
	*app
	files  []string
	driver driverFlags
	output outputFlag
}

func newRulesShowCmd(a *app) *cobra.Command {
	o := &rulesShowOptions{app: a}
	c := &cobra.Command{
		Use:   "show [-f FILE]",
		Short: "List what this node's kernel holds; or print the rules of service files as text",
		Long: `Without -f, list the frontends, targets and shares in this node's kernel; needs CAP_NET_ADMIN. The last column counts
connections since the kernel's entry was written.

With -f, print the rules of the services in a file as the text that "nft -f" loads, without a cluster and without root; with
--driver ipt, as iptables-save and ip6tables-save list them.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(o.files) > 0 {
				return runRulesText(o)
			}
			return runRulesShow(c.Context(), o)
		},
	}
	c.Flags().StringSliceVarP(&o.files, "file", "f", nil, "service files, YAML or JSON; - for standard input")
	o.driver.register(c.Flags())
	o.output.register(c.Flags(), "table", formats...)
	return c
}

// runRulesText builds the rules of files as an agent would that saw nothing else.
func runRulesText(o *rulesShowOptions) error {
	if err := o.driver.check(); err != nil {
		return err
	}
	draft := cluster.NewDraft()
	for _, file := range o.files {
		name, data, err := o.read(file)
		if err != nil {
			return err
		}
		entries, err := controlcenter.ReadFile(name, data)
		if err != nil {
			return err
		}
		plans, err := controlcenter.PlanAll(draft.Snapshot(1), entries)
		if err != nil {
			return err
		}
		for _, p := range plans {
			if publish, ok := p.Change().(cluster.Publish); ok {
				draft.Service(publish.Service.Name, publish.Service)
			}
		}
	}
	want := rules.Build(nil, draft.Snapshot(1), rules.Options{NoTables: o.driver.driver == "ipt"})
	for _, p := range want.Problems {
		o.say("warning: %s", p.Error())
	}
	text := nft.Text
	if o.driver.driver == "ipt" {
		text = ipt.Text
	}
	_, err := fmt.Fprint(o.out, text(want))
	return err
}

// ruleRow is one target of one frontend in the kernel.
type ruleRow struct {
	Frontend    cluster.Frontend `json:"frontend"`
	Mode        string           `json:"mode"`
	Target      string           `json:"target,omitempty"`
	Slots       int              `json:"slots"`
	Share       float64          `json:"share"`       // percent of the slots
	Connections uint64           `json:"connections"` // counted by the kernel since the slots were written
}

func runRulesShow(ctx context.Context, o *rulesShowOptions) error {
	d, state, err := o.driver.look(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, damage := range state.Damage {
		o.say("warning: %s: %s", damage.Object, damage.What)
	}
	counts, err := d.Counters(ctx)
	if err != nil {
		return err
	}
	return rulesListing(rulesRows(state, counts)).print(o.out, o.output.format)
}

func rulesRows(state *rules.State, counts controlcenter.Counts) []ruleRow {
	rows := []ruleRow{}
	for _, f := range slices.SortedFunc(maps.Keys(state.Placed), cluster.Frontend.Compare) {
		placed := state.Placed[f]
		shares := placed.Shares()
		if len(shares) == 0 {
			rows = append(rows, ruleRow{Frontend: f, Mode: placed.Mode.String(), Connections: counts[f][netip.AddrPort{}]})
		}
		for _, s := range shares {
			counted := counts[f][s.Target]
			rows = append(rows, ruleRow{Frontend: f, Mode: placed.Mode.String(), Target: s.Target.String(), Slots: s.Slots,
				Share: 100 * float64(s.Slots) / float64(placed.Size), Connections: counted})
		}
	}
	return rows
}

func rulesListing(rows []ruleRow) listing {
	l := listing{columns: []string{"FRONTEND", "MODE", "TARGET", "SLOTS", "SHARE", "CONNECTIONS"}, narrow: 6, data: rows}
	for _, r := range rows {
		l.names = append(l.names, "frontend/"+r.Frontend.String())
		l.rows = append(l.rows, []string{r.Frontend.String(), r.Mode, r.Target, strconv.Itoa(r.Slots), percent(&r.Share), strconv.FormatUint(r.Connections, 10)})
	}
	l.names = slices.Compact(l.names)
	return l
}

type rulesDiffOptions struct {
	*app
	viewpoint
	detailed bool
}

func newRulesDiffCmd(a *app) *cobra.Command {
	o := &rulesDiffOptions{app: a}
	c := &cobra.Command{
		Use:   "diff",
		Short: "Show what would have to change for this node's kernel to be as etcd says",
		Long:  `Show what would have to change for this node's kernel to be as etcd says. Give it the flags that the agent has.`,
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.with(c.Context(), func(s store) error { return runRulesDiff(c.Context(), o, s) })
		},
	}
	c.Flags().BoolVar(&o.detailed, "detailed-exitcode", false, "exit with 2 when something would change")
	o.register(c.Flags())
	return c
}

func runRulesDiff(ctx context.Context, o *rulesDiffOptions, s store) error {
	snapshot, err := o.snapshot(ctx, s)
	if err != nil {
		return err
	}
	d, have, err := o.driver.look(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	plan := rules.Diff(have, rules.Build(nil, snapshot, o.options(d)))
	if plan.Empty() {
		o.say("nothing would change")
		return nil
	}
	fmt.Fprint(o.out, plan)
	if o.detailed {
		return errChanges
	}
	return nil
}

type rulesCleanOptions struct {
	*app
	driver driverFlags
	force  bool
}

func newRulesCleanCmd(a *app) *cobra.Command {
	o := &rulesCleanOptions{app: a}
	c := &cobra.Command{
		Use:   "clean",
		Short: "Remove our rules, routes and link from this node, and nothing else",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return runRulesClean(c.Context(), o) },
	}
	o.driver.register(c.Flags())
	c.Flags().BoolVar(&o.force, "force", false, "also while an agent runs that does not own the tables (it will write them again), and tables that a dead owner left")
	return c
}

// runRulesClean removes routes before rules, so that no packet is led to a VIP without rules.
func runRulesClean(ctx context.Context, o *rulesCleanOptions) error {
	if !o.force {
		lock, err := lockNode()
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	ownership := nft.ReadOnly
	if o.force {
		ownership = nft.OwnAuto
	}
	drivers, err := o.driver.remains(ownership)
	if err != nil {
		return err
	}
	for _, d := range drivers {
		defer d.Close()
		// Reading finds out whether the rules may be deleted, before any is.
		if _, err := d.Read(ctx); errors.Is(err, rules.ErrOwned) {
			return fmt.Errorf("clean: %w: stop the agent first", err)
		} else if err != nil {
			return fmt.Errorf("clean: %w", err)
		}
	}
	if err := agent.CleanRoutes(); err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	for _, d := range drivers {
		if err := d.Clean(ctx); err != nil {
			return fmt.Errorf("clean: %w", err)
		}
	}
	o.say("rules, routes and link are gone")
	return nil
}
