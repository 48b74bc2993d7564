package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/top"
)

type topOptions struct {
	*app
	interval time.Duration
	once     bool
	order    string
	output   outputFlag
}

func newTopCmd(a *app, runF func(context.Context, *topOptions) error) *cobra.Command {
	o := &topOptions{app: a}
	c := &cobra.Command{
		Use:   "top",
		Short: "Show how services and nodes are doing, live",
		Long: `Show services, instances and nodes as they are doing, and go on until interrupted. WANT is the share of new connections that an
instance should get by its weight, HAVE the one that it got between the two newest reports of the load monitors (2.5 to 6s apart),
DRIFT the difference in points. A dash is what is not known.

In a terminal the busiest services that fit are shown; q leaves, s changes the order, n shows nodes, services or both. Elsewhere
each picture is printed whole, after the one before.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runTop(c.Context(), o, s) })
		},
	}
	c.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "from one picture to the next")
	c.Flags().BoolVar(&o.once, "once", false, "print one picture, after the 5s that it takes to know what is new, and leave")
	c.Flags().StringVar(&o.order, "sort", string(top.ByRate), "which services come first: "+topOrders())
	o.output.register(c.Flags(), "text", "text", "json")
	return c
}

func topOrders() (text string) {
	for i, o := range top.Orders {
		if i > 0 {
			text += "|"
		}
		text += string(o)
	}
	return text
}

// shortest is how often a picture is worth its while.
const shortest = 100 * time.Millisecond

func (o *topOptions) check() error {
	if o.interval < shortest {
		return fmt.Errorf("--interval %s is below %s", o.interval, shortest)
	}
	_, err := top.ParseOrder(o.order)
	return err
}

func runTop(ctx context.Context, o *topOptions, s store) error {
	w, err := o.observe(ctx, s)
	if err != nil {
		return err
	}
	defer w.asker.Close()
	order, _ := top.ParseOrder(o.order) // check has seen it
	if o.once {
		f, err := w.once(ctx)
		if err != nil {
			return err
		}
		return o.printer(order)(f)
	}
	if screen := terminal(o.in, o.out); screen != nil && o.output.format == "text" {
		return screen.run(ctx, w, o.interval, order)
	}
	print := o.printer(order)
	return w.run(ctx, o.interval, nil, func() error { return print(w.frame()) })
}

// printer prints pictures one after the other, each whole.
func (o *topOptions) printer(order top.Order) func(top.Frame) error {
	printed := 0
	return func(f top.Frame) error {
		if o.output.format == "json" {
			f.Sort(order)
			return json.NewEncoder(o.out).Encode(f)
		}
		gap := ""
		if printed++; printed > 1 {
			gap = "\n"
		}
		_, err := fmt.Fprintf(o.out, "%s%s\n", gap, f.Text(top.Screen{Order: order}))
		return err
	}
}
