package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/weir-lb/weir/integration/chaos"
)

// bench is a copy of the checkout in which one mutation at a time is tried.
type bench struct {
	dir     string // the copy
	here    string // the checkout
	program string // weir, built from the mutated copy
	suite   string // the suite, built from the copy as it was
}

// verdict is what became of one mutation.
type verdict struct {
	row   chaos.Row
	red   bool
	shown string // what the row said, or why it could not be tried
}

// runMutants tries the mutation of each row: the row has to turn red.
func runMutants(ctx context.Context, rows []chaos.Row, out io.Writer) error {
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	var verdicts []verdict
	for _, row := range rows {
		v := b.try(ctx, row)
		fmt.Fprintf(out, "%s %s: %s\n", row.ID, word(v.red), v.shown)
		verdicts = append(verdicts, v)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	fmt.Fprintln(out)
	return table(verdicts, out)
}

func word(red bool) string {
	if red {
		return "red"
	}
	return "NOT RED"
}

// table prints all verdicts; one that is not red is an error.
func table(verdicts []verdict, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\tmutation\tfile\tresult\twhat the row said")
	green := 0
	for _, v := range verdicts {
		m := v.row.Mutation
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.100s\n", v.row.ID, m.Why, m.File, word(v.red), v.shown)
		if !v.red {
			green++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if green > 0 {
		return fmt.Errorf("%d of %d mutations did not turn their row red", green, len(verdicts))
	}
	return nil
}

func newBench(ctx context.Context) (*bench, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "weir-mutants-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, here: here, program: filepath.Join(dir, "weir.mutant"), suite: filepath.Join(dir, "suite.test")}
	if err := errors.Join(b.copy(ctx), b.build(ctx, "test", "-c", "-o", b.suite, "./"+suiteDir)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

// copy takes what git knows, and what is new and not ignored: a mutation is of the source as it stands here.
func (b *bench) copy(ctx context.Context) error {
	names, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "-co", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(b.here, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted and not yet committed
		}
		if err != nil {
			return err
		}
		to := filepath.Join(b.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) build(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}

// try applies a row's mutation, runs the row, and takes the mutation back.
func (b *bench) try(ctx context.Context, row chaos.Row) (v verdict) {
	v.row = row
	m := row.Mutation
	file := filepath.Join(b.dir, filepath.FromSlash(m.File))
	sound, err := os.ReadFile(file)
	if err == nil && bytes.Count(sound, []byte(m.Old)) != 1 {
		err = fmt.Errorf("%s does not hold the text to replace exactly once", m.File)
	}
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(sound, []byte(m.Old), []byte(m.New), 1), 0o644)
	}
	if err != nil {
		v.shown = err.Error()
		return v
	}
	defer func() {
		if err := os.WriteFile(file, sound, 0o644); err != nil {
			v.red, v.shown = false, err.Error()
		}
	}()
	if err := b.build(ctx, "build", "-o", b.program, "./cmd/weir"); err != nil {
		v.shown = "does not build: " + err.Error()
		return v
	}
	v.red, v.shown = b.run(ctx, row)
	return v
}

// run runs a row with the mutated program. Only a line that says no counts: a suite that breaks off shows nothing.
func (b *bench) run(ctx context.Context, row chaos.Row) (red bool, shown string) {
	variant, suite := row.Mutation.Variant, b.suite
	if variant == (chaos.Variant{}) {
		variant = row.Variants[0]
	}
	if row.Mutation.Suite {
		suite += ".mutant"
		if err := b.build(ctx, "test", "-c", "-o", suite, "./"+suiteDir); err != nil {
			return false, "does not build: " + err.Error()
		}
	}
	cmd := exec.CommandContext(ctx, suite, "-test.run", "Chaos/^"+row.ID+"$/^"+variant.String()+"$", "-test.v", "-test.timeout", "5m")
	cmd.Dir = filepath.Join(b.here, filepath.FromSlash(suiteDir))
	cmd.Env = append(os.Environ(), "WEIR_PROGRAM="+b.program)
	said, ran := cmd.CombinedOutput()
	lines, err := chaos.ReadLines(bytes.NewReader(said))
	switch {
	case err != nil:
		return false, err.Error()
	case len(lines) != 1:
		return false, fmt.Sprintf("%d lines: %v: %.300s", len(lines), ran, said)
	case lines[0].OK:
		return false, variant.String() + " stays green"
	}
	return true, lines[0].Why
}
