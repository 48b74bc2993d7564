// Command weir is all of Weir: the operator's commands, the control center and the agent.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/internal/lab"
)

func main() {
	lab.BecomeLaunched() // the instances of weir demo are this program, too
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is main with everything it touches handed in, so that deferred work is done before the process exits.
func run(args []string, in io.Reader, out, err io.Writer) int {
	if len(args) == 3 && args[1] == shimName {
		return runShim(args[2], err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newApp(in, out, err).execute(ctx, args)
}

// subcommands are what the arguments say. A link named controlcenter beside the binary means "weir controlcenter"; what the
// shell's completion asks of it stays what it is.
func subcommands(args []string) []string {
	rest := args[1:]
	if !viaLink(args) || len(rest) > 0 && rest[0] == "completion" {
		return rest
	}
	if len(rest) > 0 && (rest[0] == cobra.ShellCompRequestCmd || rest[0] == cobra.ShellCompNoDescRequestCmd) {
		return append([]string{rest[0]}, subcommands(append(args[:1:1], rest[1:]...))...)
	}
	return append([]string{linkName}, rest...)
}

func viaLink(args []string) bool { return filepath.Base(args[0]) == linkName }
