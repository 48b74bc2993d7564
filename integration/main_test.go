package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the weir binary under test, built once; under the race detector it has one too.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "weir")
	args := []string{"build", "-o", program}
	if racing {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../cmd/weir")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// world is a World of the program under test.
func world(t *testing.T, o Options) *World {
	t.Helper()
	o.Program = program
	return NewWorld(t, o)
}
