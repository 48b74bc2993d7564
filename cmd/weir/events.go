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
)

type eventsOptions struct {
	*app
	service string
	since   time.Duration
	watch   bool
	output  outputFlag
}

func newEventsCmd(a *app, runF func(context.Context, *eventsOptions) error) *cobra.Command {
	o := &eventsOptions{app: a}
	c := &cobra.Command{
		Use:   "events [SERVICE]",
		Short: "Show what was decided about services automatically, and from which numbers",
		Args:  cobra.MaximumNArgs(1),
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
	c.Flags().DurationVar(&o.since, "since", 0, "only those of the last so long; 0: all that are kept, at most 100 a service")
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on with new ones until interrupted; with -o json, one line each")
	o.output.register(c.Flags(), "table", "table", "wide", "json", "yaml")
	return c
}

func (o *eventsOptions) check() error {
	if o.service != "" && cluster.ValidName(o.service) != "" {
		return fmt.Errorf("%s: see weir get services", cluster.ValidName(o.service))
	}
	if o.since < 0 {
		return fmt.Errorf("--since %s is negative", o.since)
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
		ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
		defer cancel()
		events, err := s.Events(ctx, o.service)
		if err != nil {
			return err
		}
		return eventsListing(o.recent(events)).print(o.out, o.output.format)
	})
}

// recent leaves out those that are too old.
func (o *eventsOptions) recent(events []cluster.Event) []cluster.Event {
	if o.since == 0 {
		return events
	}
	from := o.now().Add(-o.since)
	return slices.DeleteFunc(slices.Clone(events), func(e cluster.Event) bool { return e.At.Before(from) })
}

// follow prints events as they come.
func (o *eventsOptions) follow(ctx context.Context, s store) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	err := s.FollowEvents(ctx, o.service, func(events []cluster.Event) {
		for _, e := range o.recent(events) {
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
