package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/demo"
	"github.com/weir-lb/weir/internal/lab"
)

// The stories.
const (
	balancing = "balance"
	scaling   = "scale"
)

var stories = []string{balancing, scaling}

type demoOptions struct {
	demo.Options
	driver driverFlags
	story  string
	output string
}

func newDemoCmd(a *app) *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three nodes that spread real connections, in network namespaces of this machine",
		Long: `Build a cluster of three nodes and a client in network namespaces, with an embedded etcd, real agents and a control center, and
show real connections to it. Nothing of the host is touched. It needs root. The cluster stays up to play with until Ctrl-C, and is
then removed.

  --story balance   Four instances. Publish a service, connect to it three thousand times from each node, and then change and break
                    things.
  --story scale     Weir runs the instances itself: a load that triples and falls, an instance that is killed, a node that loses its
                    power and comes back, one that is drained. In a terminal with a picture of what serves what. About two minutes.

A connection that failed where none may, or a promised time that was not kept, makes the exit code 1.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find own program: %w", err)
			}
			o.Program, o.Out, o.JSON = program, a.out, o.output == "json"
			switch {
			case !slices.Contains(stories, o.story):
				return &usageError{fmt.Errorf("there is no story %q: there are %s", o.story, strings.Join(stories, " and "))}
			case o.story == scaling && cmd.Flags().Changed("connections"):
				return &usageError{fmt.Errorf("--connections is for the story balance: in scale the load is part of the story")}
			case o.story != scaling && o.Quick:
				return &usageError{fmt.Errorf("--quick is for the story scale: balance has no pauses")}
			case o.output != "" && o.output != "text" && o.output != "json":
				return &usageError{fmt.Errorf("there is no output %q: use text or json", o.output)}
			case o.Connections < 1 || o.Connections > 25_000:
				return &usageError{fmt.Errorf("--connections %d is outside 1..25000", o.Connections)}
			}
			if err := o.driver.check(); err != nil {
				return err
			}
			o.AgentArgs = []string{"--driver", o.driver.driver, "--iptables", o.driver.iptables}
			o.Iptables = o.driver.program()
			if err := lab.CheckRoot(); err != nil { // before the show begins
				return err
			}
			if o.story != scaling {
				return demo.Balance(cmd.Context(), o.Options)
			}
			if to := terminalOf(a.out); to != nil {
				o.Terminal = &demo.Terminal{Out: to, Size: func() (int, int) { return sizeOf(to) }}
			}
			return demo.Scale(cmd.Context(), o.Options)
		},
	}
	o.driver.register(cmd.Flags())
	cmd.Flags().StringVar(&o.story, "story", balancing, "what to show: "+strings.Join(stories, "|"))
	cmd.Flags().BoolVar(&o.Once, "once", false, "leave after the show")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text, or json for one document")
	cmd.Flags().IntVar(&o.Connections, "connections", 3000, "balance: connections from each node after each step")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "scale: no pauses for who looks on")
	return cmd
}
