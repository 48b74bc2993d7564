package process_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/launchertest"
	"github.com/weir-lb/weir/launcher/process"
)

var number atomic.Int64

// place is a state directory of its own, with control groups of its own, and nothing left of either in the end.
func place(t testing.TB) process.Config {
	root, err := os.MkdirTemp("", "weir-launcher-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	require.NoError(t, os.Chmod(root, 0o711)) // for the environment files
	return placeIn(t, root)
}

func placeIn(t testing.TB, root string) process.Config {
	c := process.Config{
		Dir: filepath.Join(root, "state"), EnvDir: filepath.Join(root, "env"), User: "nobody",
		// Under -race: the shim of a test ends at once, and not by itself when it finds a race.
		Shim:  []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0 halt_on_error=1", os.Args[0], "shim"},
		Group: fmt.Sprintf("weir-test-%d-%d", os.Getpid(), number.Add(1)),
		// A hundred of these shims at once, which are much larger than those of weir, take their time on a busy machine.
		StartTimeout: time.Minute,
	}
	t.Cleanup(func() {
		ctx := context.Background()
		d := open(t, c)
		list, _ := d.List(ctx)
		for _, s := range list {
			require.NoError(t, d.Stop(ctx, s.ID, 0))
		}
		require.NoError(t, d.Close())
		groups, err := filepath.Glob("/sys/fs/cgroup/*/" + c.Group)
		require.NoError(t, err)
		for _, g := range groups {
			require.NoError(t, os.Remove(g), "a group of an instance is left")
		}
	})
	return c
}

func open(t testing.TB, c process.Config) *process.Driver {
	d, err := process.Open(c)
	require.NoError(t, err)
	return d
}

func TestDriver(t *testing.T) {
	launchertest.TestDriver(t, func(t testing.TB) launchertest.Bench {
		c := place(t)
		c.OutputBytes = 1 << 20
		return launchertest.Bench{
			Open: func(t testing.TB) (launcher.Driver, func()) {
				d := open(t, c)
				return d, func() { require.NoError(t, d.Close()) }
			},
			Spec: func(_ testing.TB, number int) launcher.Spec {
				return launcher.Spec{ID: fmt.Sprintf("i%d", number), Service: "s", Command: []string{"/bin/sleep", "300"}}
			},
			Remembers: true,
			Programs:  true,
		}
	})
}
