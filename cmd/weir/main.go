// Command weir is all of Weir: the operator's commands, the control center and the agent.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run is main with everything it touches handed in, so that deferred work is done before the process exits.
func run(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newApp(in, out, err).execute(ctx, args)
}

// subcommands are what the arguments say. A link named controlcenter beside the binary means "weir controlcenter".
func subcommands(args []string) []string {
	if filepath.Base(args[0]) == "controlcenter" {
		return append([]string{"controlcenter"}, args[1:]...)
	}
	return args[1:]
}
