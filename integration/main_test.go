package integration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

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
	var builds errgroup.Group
	if racing {
		program = filepath.Join(dir, "weir-race")
		builds.Go(func() error { return Build(program, "-race") })
	}
	builds.Go(func() error { return Build(plain) })
	if err := builds.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// A program with the race detector waits for a second at its end, where there is nothing left to find.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
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

// driverOf is what the agents of a test work with where its world does not say: TestIptables runs tests below the name of one.
func driverOf(test string) string {
	if _, below, found := strings.Cut(test, "TestIptables/"); found {
		driver, _, _ := strings.Cut(below, "/")
		return driver
	}
	return ""
}

// world is a World of the program under test.
func world(t *testing.T, o Options) *World {
	t.Helper()
	if o.Program == "" {
		o.Program = program
	}
	if o.Driver == "" {
		o.Driver = driverOf(t.Name())
	}
	return NewWorld(t, o)
}
