package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

type adminOptions struct {
	*app
	target [2]string // service, instance
	word   controlcenter.Word
	wait   waitFlags
	drain  drainFlags
	output outputFlag
}

type runAdminFunc func(context.Context, *adminOptions) error

func newDrainCmd(a *app, runF runAdminFunc) *cobra.Command {
	drain := true
	o := &adminOptions{app: a, word: controlcenter.Word{Drain: &drain}}
	c := o.command("drain SERVICE INSTANCE", "Send no new connections to an instance; live ones go on", runF)
	c.Long += `

With --wait, go on until no node carries a live TCP connection to it any more, and tell how many are left. UDP flows move to other
instances at once. When --timeout comes first the exit code is 8; the instance stays drained.`
	c.Args = func(c *cobra.Command, args []string) error {
		return errors.Join(exactly(2)(c, args), o.drain.check(c.Flags()))
	}
	o.drain.register(c.Flags())
	return c
}

func newUndrainCmd(a *app, runF runAdminFunc) *cobra.Command {
	drain := false
	o := &adminOptions{app: a, word: controlcenter.Word{Drain: &drain}}
	c := o.command("undrain SERVICE INSTANCE", "Send new connections to an instance again", runF)
	c.Args = exactly(2)
	return c
}

func newWeightCmd(a *app, runF runAdminFunc) *cobra.Command {
	o := &adminOptions{app: a}
	c := o.command("weight SERVICE INSTANCE {N | --clear}", "Set the weight of an instance by hand, or take that back", runF)
	c.Flags().BoolVar(&o.word.ClearWeight, "clear", false, "take back a weight that was set by hand")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// A negative weight looks like a flag.
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && len(unknown.GetSpecifiedShortnames()) > 0 && isDigit(unknown.GetSpecifiedShortnames()[0]) {
			return fmt.Errorf("weight -%s is outside 0..%d: 0 sends no new connections, --clear takes back a weight that was set by hand", unknown.GetSpecifiedShortnames(), cluster.MaxWeight)
		}
		return c.Parent().FlagErrorFunc()(c, err)
	})
	c.Args = func(_ *cobra.Command, args []string) error {
		if o.word.ClearWeight == (len(args) == 3) || len(args) < 2 || len(args) > 3 {
			return errors.New("give SERVICE, INSTANCE and either a weight or --clear")
		}
		if len(args) == 3 {
			n, err := strconv.Atoi(args[2])
			if err != nil {
				return fmt.Errorf("weight %q is not a whole number", args[2])
			}
			o.word.Weight = &n
		}
		return nil
	}
	return c
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (o *adminOptions) command(use, short string, runF runAdminFunc) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Long: short + ".\nINSTANCE is its id or its address, as \"weir get instances\" shows them.",
		RunE: func(c *cobra.Command, args []string) error {
			o.target = [2]string{args[0], args[1]}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runAdmin(c.Context(), o)
		},
	}
	o.wait.register(c.Flags())
	c.Flags().StringVar(&o.word.Reason, "reason", "", "why; shown wherever the instance is listed")
	o.output.register(c.Flags(), "none", "none", "json", "yaml")
	c.Flags().BoolVar(&o.word.Force, "force", false, "also when no instance would take new connections afterwards")
	return c
}

// done says what is so now. The instance may have been named by its address: what is said of it is said by its id.
func (o *adminOptions) done(change cluster.Change) string {
	id := o.target[1]
	if set, ok := change.(cluster.SetAdmin); ok {
		id = set.ID
	}
	switch {
	case o.word.Weight != nil:
		return fmt.Sprintf("%s has weight %d, set by hand", id, *o.word.Weight)
	case o.word.ClearWeight:
		return id + " has no weight set by hand any more"
	case *o.word.Drain:
		return id + " is drained"
	}
	return id + " is no longer drained"
}

// adminOutcome is what came of a word, as data.
type adminOutcome struct {
	Service   string                   `json:"service"`
	Instance  string                   `json:"instance"`
	Revision  int64                    `json:"revision,omitempty"` // 0: it was so already
	Nodes     *controlcenter.Progress  `json:"nodes,omitempty"`
	Remaining *controlcenter.Remaining `json:"remaining,omitempty"`
}

func runAdmin(ctx context.Context, o *adminOptions) error {
	return o.with(ctx, func(s store) error {
		snapshot, err := o.snapshot(ctx, s)
		if err != nil {
			return err
		}
		o.word.Again = o.drain.wait
		change, err := controlcenter.PlanAdmin(snapshot, o.target, o.word, o.now())
		if err != nil {
			return err
		}
		out := &adminOutcome{Service: o.target[0], Instance: o.target[1]}
		if change == nil {
			o.say("instance %s of service %s already is as wanted", o.target[1], o.target[0])
			return o.print(out)
		}
		if out.Revision, err = o.commit(ctx, s, change); err != nil {
			return err
		}
		o.say("service %s: %s, written at revision %d", o.target[0], o.done(change), out.Revision)
		if set, ok := change.(cluster.SetAdmin); ok {
			out.Instance = set.ID
		}
		if out.Nodes, err = o.wait.wait(ctx, o.app, s, controlcenter.Awaited{Revision: out.Revision, Services: o.target[:1]}); err != nil {
			return err
		}
		out.Remaining, err = o.drain.await(ctx, o.app, s, controlcenter.Drain{Revision: out.Revision, Service: out.Service, Instance: out.Instance})
		return errors.Join(err, o.print(out))
	})
}

func (o *adminOptions) print(out *adminOutcome) error {
	if o.output.format == "none" {
		return nil
	}
	return printData(o.out, o.output.format, out)
}
