package integration

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/weir-lb/weir/internal/lab"
)

// The weir binary under test, built once: plain, and program, which has the race detector where the test has it.
var program, plain string

func TestMain(m *testing.M) {
	lab.BecomeLaunched()
	lab.BecomeWorker()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	plain = filepath.Join(dir, "weir")
	program = plain
	if racing {
		program = filepath.Join(dir, "weir-race")
		err = Build(program, "-race")
	}
	if err = errors.Join(err, Build(plain)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Tests of whole clusters wait for leases and intervals more than they work.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// driver is what the agents of a world work with that does not say; see TestIptables.
var driver string

// world is a World of the program under test.
func world(t *testing.T, o Options) *World {
	t.Helper()
	if o.Program == "" {
		o.Program = program
	}
	if o.Driver == "" {
		o.Driver = driver
	}
	return NewWorld(t, o)
}
