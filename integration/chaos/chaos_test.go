package chaos

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// programVariable names a weir binary to run instead of this checkout's: make chaos-mutants hands in what it built.
const programVariable = "WEIR_PROGRAM"

// allVariable has every row run, also those that are not named.
const allVariable = "WEIR_CHAOS"

// program under test.
var program string

func TestMain(m *testing.M) {
	lab.BecomeLaunched()
	lab.BecomeWorker()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if program = os.Getenv(programVariable); program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "weir-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "weir")
	// Without the race detector, whatever the tests have: what is measured here is how soon things happen.
	if err := integration.Build(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// cases are what the rows do.
func cases() map[string]func(*run) {
	all := map[string]func(*run){}
	for _, some := range []map[string]func(*run){processCases, kernelCases, storeCases, controlCases, inputCases} {
		maps.Copy(all, some)
	}
	return all
}

func TestChaos(t *testing.T) {
	named := strings.Contains(flag.Lookup("test.run").Value.String(), "Chaos/") || os.Getenv(allVariable) == "all"
	do := cases()
	for _, row := range Rows() {
		variants := row.Variants
		if !named {
			variants = row.Quick
		}
		if len(variants) == 0 {
			continue
		}
		t.Run(row.ID, func(t *testing.T) {
			for _, v := range variants {
				t.Run(v.String(), func(t *testing.T) { start(t, row, v, do[row.ID]) })
			}
		})
	}
}

// TestRows holds the catalogue and the cases together.
func TestRows(t *testing.T) {
	do, ids := cases(), map[string]bool{}
	for _, row := range Rows() {
		require.False(t, ids[row.ID], "row %s is there twice", row.ID)
		ids[row.ID] = true
		require.NotEmpty(t, row.Variants, row.ID)
		for _, v := range row.Quick {
			require.Contains(t, row.Variants, v, row.ID)
		}
		for _, text := range []string{row.Fault, row.Expected, row.Target} {
			require.NotEmpty(t, text, row.ID)
		}
		for _, n := range row.Promises {
			require.True(t, 1 <= n && n <= len(Promises), "row %s: promise %d", row.ID, n)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(ids)), slices.Collect(maps.Keys(do)))
}
