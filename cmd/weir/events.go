package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type eventsOptions struct {
	*app
	service string
	since   sinceFlag
	watch   bool
	output  outputFlag
}

func newEventsCmd(a *app, runF func(context.Context, *eventsOptions) error) *cobra.Command {
	o := &eventsOptions{app: a}
	c := &cobra.Command{
		Use:   "events [SERVICE]",
		Short: "Show what was decided about services automatically, and from which numbers",
		Args:  atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.service = args[0]
			}
			if err := o.check(); err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runEvents(c.Context(), o)
		},
	}
	c.Flags().Var(&o.since, "since", "only those of the last so long, such as 10m, or since a time, such as 2026-01-02T15:04:05Z; 0: all that are kept, at most 100 a service")
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on with new ones until interrupted; with -o json, one line each")
	o.output.register(c.Flags(), "table", "table", "wide", "json", "yaml")
	return c
}

func (o *eventsOptions) check() error {
	if o.service != "" && cluster.ValidName(o.service) != "" {
		return fmt.Errorf("%s: see weir get services", cluster.ValidName(o.service))
	}
	if o.watch && o.output.format == "yaml" {
		return fmt.Errorf("--watch has no -o yaml: use json")
	}
	return nil
}

func runEvents(ctx context.Context, o *eventsOptions) error {
	return o.with(ctx, func(s store) error {
		if o.watch {
			return o.follow(ctx, s)
		}
		events, err := o.kept(ctx, s)
		if err != nil {
			return err
		}
		if err := o.known(ctx, s, events); err != nil {
			return err
		}
		return eventsListing(recent(events, o.since.from(o.now()))).print(o.out, o.output.format)
	})
}

func (o *eventsOptions) kept(ctx context.Context, s store) ([]cluster.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	return s.Events(ctx, o.service)
}

// known refuses a service that nothing is known of: a mistyped name would look like one of which nothing was decided.
func (o *eventsOptions) known(ctx context.Context, s store, events []cluster.Event) error {
	if o.service == "" || len(events) > 0 {
		return nil
	}
	snapshot, err := o.snapshot(ctx, s)
	if err == nil {
		_, err = controlcenter.Services(snapshot, o.service)
	}
	return err
}

// recent leaves out those that are too old.
func recent(events []cluster.Event, from time.Time) []cluster.Event {
	if from.IsZero() {
		return events
	}
	return slices.DeleteFunc(slices.Clone(events), func(e cluster.Event) bool { return e.At.Before(from) })
}

// follow prints events as they come.
func (o *eventsOptions) follow(ctx context.Context, s store) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	from := o.since.from(o.now())
	err := s.FollowEvents(ctx, o.service, func(events []cluster.Event) {
		for _, e := range recent(events, from) {
			if err := o.line(e); err != nil {
				end(fmt.Errorf("print an event: %w", err)) // whoever read it has gone
			}
		}
	})
	if cause := context.Cause(ctx); err == nil && cause != ctx.Err() {
		return cause
	}
	return err
}

func (o *eventsOptions) line(e cluster.Event) error {
	if o.output.format == "json" {
		text, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(o.out, "%s\n", text)
		}
		return err
	}
	row := eventRow(e)
	if o.output.format != "wide" {
		row = row[:narrowEvent]
	}
	for i := range row {
		row[i] = cell(row[i])
	}
	_, err := fmt.Fprintln(o.out, strings.Join(row, "  "))
	return err
}

// narrowEvent is how many columns the plain table has.
const narrowEvent = 4

func eventsListing(events []cluster.Event) listing {
	l := listing{columns: []string{"AT", "SERVICE", "WHAT", "REASON", "REVISION", "BY", "FROM", "TO"}, narrow: narrowEvent, data: orEmpty(events)}
	for _, e := range events {
		l.rows = append(l.rows, eventRow(e))
	}
	return l
}

func eventRow(e cluster.Event) []string {
	in, out := figures(e.In), figures(e.Out)
	if e.Cut {
		in = "too many to keep"
	}
	return []string{e.At.UTC().Format(time.RFC3339), e.Service, e.What, e.Reason, strconv.FormatInt(e.Revision, 10), e.By, in, out}
}

// figures are numbers in words: "192.0.2.1:80 busy=0.5 share=300; 192.0.2.2:80 ...".
func figures(f cluster.Figures) string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(f)) {
		part := id
		for _, name := range slices.Sorted(maps.Keys(f[id])) {
			part += fmt.Sprintf(" %s=%.4g", name, f[id][name])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
