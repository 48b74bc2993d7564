package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// noArguments refuses all. Those of cobra would call one an unknown command.
func noArguments(c *cobra.Command, args []string) error { return atMost(0)(c, args) }

// exactly wants so many arguments.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("an argument is missing: %s", usage(c))
		}
		return atMost(n)(c, args)
	}
}

// atMost wants no more arguments than that.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("%q is an argument too many: %s", args[n], usage(c))
		}
		return nil
	}
}

// usage is how a command is written, and where more of it is told. Each line of Use after the first is another way.
func usage(c *cobra.Command) string {
	_, arguments, _ := strings.Cut(c.Use, " ")
	ways := strings.ReplaceAll(strings.TrimSpace(c.CommandPath()+" "+arguments), "\n  ", `" or "`)
	return fmt.Sprintf(`want "%s": see %s --help`, ways, c.CommandPath())
}
