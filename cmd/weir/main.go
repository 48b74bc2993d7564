// Command weir keeps a cluster's services reachable, balanced and alive. See "weir help".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with deferred work done before the exit. A link named controlcenter beside the binary means
// "weir controlcenter".
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "controlcenter" {
		args = append([]string{"controlcenter"}, args...)
	}
	root := newRootCmd(&factory{out: os.Stdout, err: os.Stderr})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir:", printable(err.Error()))
	}
	return exitCode(err)
}
