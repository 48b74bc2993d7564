package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/demo"
	"github.com/weir-lb/weir/internal/lab"
)

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
		Long: `Build three nodes, four instances and a client in network namespaces, with an embedded etcd, three agents and a control
center; publish a service, connect to it three thousand times from each node, and then change and break things. Nothing of the host
is touched. It needs root. The cluster stays up to play with until Ctrl-C, and is then removed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find own program: %w", err)
			}
			o.Program, o.Out, o.JSON = program, a.out, o.output == "json"
			switch {
			case o.story != "balance":
				return &usageError{fmt.Errorf("there is no story %q: use balance", o.story)}
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
			return demo.Balance(cmd.Context(), o.Options)
		},
	}
	o.driver.register(cmd.Flags())
	cmd.Flags().StringVar(&o.story, "story", "balance", "what to show: balance")
	cmd.Flags().BoolVar(&o.Once, "once", false, "leave after the show")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text, or json for one document")
	cmd.Flags().IntVar(&o.Connections, "connections", 3000, "connections from each node after each step")
	return cmd
}
