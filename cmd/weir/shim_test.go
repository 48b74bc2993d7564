package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process"
)

// One binary is enough: weir is its own shim.
func TestShim(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	d, err := process.Open(process.Config{Dir: dir, Shim: []string{"/usr/bin/env", atOnce, os.Args[0], shimName}})
	require.NoError(t, err)
	defer d.Close()
	spec := launcher.Spec{ID: "a", Service: "s", Command: []string{"/bin/sh", "-c", "echo it runs; exit 4"}, User: strconv.Itoa(os.Getuid())}
	require.NoError(t, d.Ensure(t.Context(), spec))
	var list []launcher.Status
	require.Eventually(t, func() bool {
		list, err = d.List(t.Context())
		return err == nil && len(list) == 1 && list[0].State == launcher.Exited
	}, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, 4, list[0].Exits[0].Code)
	require.Equal(t, []string{"it runs"}, list[0].Output)
	require.NoError(t, d.Stop(t.Context(), "a", 0))

	c := exec.CommandContext(t.Context(), os.Args[0], shimName, filepath.Join(dir, "none"))
	out, err := c.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no such file")
	require.Equal(t, 1, c.ProcessState.ExitCode())
}
