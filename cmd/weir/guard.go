package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
)

type guardOptions struct {
	*app
	revision int64
	output   outputFlag
}

func newGuardCmd(a *app) *cobra.Command {
	c := newGuardShowCmd(a, nil)
	c.AddCommand(newGuardAcceptCmd(a, nil))
	return c
}

func newGuardShowCmd(a *app, runF func(context.Context, *guardOptions) error) *cobra.Command {
	o := &guardOptions{app: a}
	c := &cobra.Command{
		Use:   "guard",
		Short: "Show deletions that are held back because they look like an accident",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runGuard(c.Context(), o)
		},
	}
	o.output.register(c.Flags(), "table", formats...)
	return c
}

func newGuardAcceptCmd(a *app, runF func(context.Context, *guardOptions) error) *cobra.Command {
	o := &guardOptions{app: a}
	c := &cobra.Command{
		Use:   "accept --revision R",
		Short: "Let the deletions up to a revision happen",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 || o.revision <= 0 {
				return errors.New("give --revision with the number that weir guard shows")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runGuardAccept(c.Context(), o)
		},
	}
	c.Flags().Int64Var(&o.revision, "revision", 0, "as weir guard shows it")
	return c
}

// heldRow says who holds back what. Each agent decides for itself, from what it had before.
type heldRow struct {
	Node string `json:"node"`
	cluster.Held
}

func runGuard(ctx context.Context, o *guardOptions) error {
	return o.with(ctx, func(s store) error {
		fleet, err := o.fleet(ctx, s)
		if err != nil {
			return err
		}
		l := heldListing(fleet.Applied)
		if len(l.rows) == 0 {
			o.say("nothing is held back")
		}
		return l.print(o.out, o.output.format)
	})
}

func heldListing(applied map[string]cluster.Applied) listing {
	rows := []heldRow{}
	for _, node := range slices.Sorted(maps.Keys(applied)) {
		if held := applied[node].Held; held != nil {
			rows = append(rows, heldRow{node, *held})
		}
	}
	l := listing{columns: []string{"NODE", "REVISION", "DELETED", "REASON"}, narrow: 4, data: rows}
	for _, r := range rows {
		l.names = append(l.names, "node/"+r.Node)
		l.rows = append(l.rows, []string{r.Node, strconv.FormatInt(r.Revision, 10), strconv.Itoa(r.Deleted), r.Reason})
	}
	return l
}

func runGuardAccept(ctx context.Context, o *guardOptions) error {
	return o.with(ctx, func(s store) error {
		revision, err := o.commit(ctx, s, cluster.AcceptHeld{Revision: o.revision})
		if err != nil {
			return fmt.Errorf("accept what is held back: %w", err)
		}
		o.say("deletions up to revision %d are accepted (written at revision %d)", o.revision, revision)
		return nil
	})
}
