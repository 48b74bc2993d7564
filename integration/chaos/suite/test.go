package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-lb/weir/integration/chaos"
)

// test runs what a pattern names and returns its lines. Red rows are an error too, which comes with the lines.
func test(ctx context.Context, pattern string, out io.Writer) ([]chaos.Line, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "./"+suiteDir, "-run", pattern, "-count=1", "-v", "-timeout", "60m")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&said, out), out
	ran := cmd.Run()
	lines, err := chaos.ReadLines(&said)
	if err != nil {
		return nil, err
	}
	if ran != nil {
		return lines, fmt.Errorf("go test: %w", ran)
	}
	return lines, nil
}

// kept are the lines of earlier runs: the newest of each variant of each row.
func kept() ([]chaos.Line, error) {
	f, err := os.Open(filepath.FromSlash(resultsFile))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return chaos.ReadLines(f)
}

// keep puts lines in the place of the earlier ones of the same variants. What the catalogue no longer has is dropped.
func keep(lines []chaos.Line) error {
	earlier, err := kept()
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, row := range chaos.Rows() {
		for _, v := range row.Variants {
			is := func(l chaos.Line) bool { return l.Row == row.ID && l.Variant() == v }
			from := lines
			i := slices.IndexFunc(from, is)
			if i < 0 {
				from = earlier
				i = slices.IndexFunc(from, is)
			}
			if i < 0 {
				continue
			}
			if err := from[i].Write(&text); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.FromSlash(resultsFile), []byte(text.String()), 0o644)
}
