// Command suite runs the rows of integration/chaos, and writes what they found into docs/reliability.md; or it runs each row
// against its mutation, and says which of them stayed green.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weir-lb/weir/integration/chaos"
)

// Of the checkout, which is where the command runs.
const (
	suiteDir    = "integration/chaos"
	resultsFile = "integration/chaos/suite/results.jsonl"
	pageFile    = "docs/reliability.md"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, log io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	flags.SetOutput(log)
	only := flags.String("rows", "", "some of the rows, as in A1,B4; empty: all")
	mutants := flags.Bool("mutants", false, "run each row against its mutation")
	render := flags.Bool("render", false, "write the page from the results that are there, and run nothing")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	rows, err := choose(*only)
	if err != nil {
		fmt.Fprintln(log, err)
		return 2
	}
	switch {
	case *render:
		err = writePage()
	case *mutants:
		err = runMutants(ctx, rows, out)
	default:
		err = runRows(ctx, rows, out)
	}
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	return 0
}

// choose picks rows by their ids.
func choose(only string) ([]chaos.Row, error) {
	rows := chaos.Rows()
	if only == "" {
		return rows, nil
	}
	var some []chaos.Row
	for _, id := range strings.Split(only, ",") {
		i := slices.IndexFunc(rows, func(r chaos.Row) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q", id)
		}
		some = append(some, rows[i])
	}
	return some, nil
}

// runRows runs rows, keeps what they found, and writes the page.
func runRows(ctx context.Context, rows []chaos.Row, out io.Writer) error {
	lines, err := test(ctx, pattern(rows), out)
	if err != nil && len(lines) == 0 {
		return err
	}
	if err := keep(lines); err != nil {
		return err
	}
	if err := writePage(); err != nil {
		return err
	}
	red := 0
	for _, l := range lines {
		if !l.OK {
			red++
		}
	}
	if red > 0 {
		return fmt.Errorf("%d of %d are red", red, len(lines))
	}
	return err
}

func pattern(rows []chaos.Row) string {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return "Chaos/^(" + strings.Join(ids, "|") + ")$"
}

// writePage makes the page of the results that are kept.
func writePage() error {
	lines, err := kept()
	if err != nil {
		return err
	}
	text, err := page(chaos.Rows(), lines)
	return errors.Join(err, os.WriteFile(filepath.FromSlash(pageFile), text, 0o644))
}
