package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration/chaos"
)

// TestPage: docs/reliability.md says what the kept results say, and what the catalogue says of its rows.
func TestPage(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", ".."))
	lines, err := kept()
	require.NoError(t, err)
	want, err := page(chaos.Rows(), lines)
	require.NoError(t, err)
	got, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "write it anew: go run ./integration/chaos/suite -render")
}

// TestPageCommands: the tests that the page names are there.
func TestPageCommands(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", ".."))
	named := regexp.MustCompile(`go test \./(\S+) -run (Test\w+)`).FindAllStringSubmatch(pageText, -1)
	require.NotEmpty(t, named)
	for _, one := range named {
		files, err := filepath.Glob(filepath.Join(one[1], "*_test.go"))
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(files, func(name string) bool {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			return strings.Contains(string(text), "\nfunc "+one[2]+"(")
		}), one[0])
	}
	_, err := os.Stat(".ci/fuzz")
	require.NoError(t, err)
}

func TestPageTellsRed(t *testing.T) {
	row := chaos.Row{ID: "A1", Fault: "f", Expected: "a | b", Target: "none", Promises: []int{1}, Variants: []chaos.Variant{{Driver: "nft", Owner: "auto"}, {Driver: "ipt"}}}
	line := chaos.Line{Row: "A1", Driver: "nft", Owner: "auto", Conns: 10, ConnFailed: 3, Repair: 1.5, Figures: map[string]float64{"writes": 2}, Why: "writes", Kernel: "k"}
	text, err := page([]chaos.Row{row}, []chaos.Line{line})
	require.NoError(t, err)
	for _, part := range []string{
		"1 rows in 2 variants: 1 were run, 0 of these reach their target. Not reached: A1 nft-auto.",
		"Rows: A1 (red).",
		`| A1 | f | a \| b | none | nft-auto | 3 of 10 connections failed, 0 of 50 live broken; repaired 1.5 ms; writes 2 | **red**: writes | 0001-01-01, k |`,
		"|  |  |  |  | ipt |  | not run |  |",
	} {
		require.Contains(t, string(text), part)
	}
}

func TestReadLines(t *testing.T) {
	lines, err := chaos.ReadLines(strings.NewReader("=== RUN\n{\"row\":\"A1\",\"driver\":\"ipt\",\"ok\":true}\nok\n"))
	require.NoError(t, err)
	require.Equal(t, []chaos.Line{{Row: "A1", Driver: "ipt", OK: true}}, lines)
	_, err = chaos.ReadLines(strings.NewReader(`{"row":1}`))
	require.ErrorContains(t, err, `line {"row":1}`)
}

func TestChoose(t *testing.T) {
	some, err := choose("B1,A1")
	require.NoError(t, err)
	require.Equal(t, "Chaos/^(B1|A1)$", pattern(some))
	_, err = choose("A1,Z9")
	require.ErrorContains(t, err, `no row "Z9"`)
	all, err := choose("")
	require.NoError(t, err)
	require.Equal(t, chaos.Rows(), all)
}
