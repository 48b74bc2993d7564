package sample

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// grouped is a process in groups of its own, by their directories, which are gone after the test. It runs a shell script once
// it is there.
func grouped(t *testing.T, script string, dirs ...string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read go; "+script)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for _, dir := range dirs {
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() {
			require.Eventually(t, func() bool { return os.Remove(dir) == nil }, 20*time.Second, 10*time.Millisecond)
		})
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0o644))
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() }) // the script ends with its input
	_, err = stdin.Write([]byte("go\n"))
	require.NoError(t, err)
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the script says when it is ready")
	return cmd.Process.Pid
}

// What a shell and its child hold: seven files beside the usual three, and memory in both.
const holding = `for i in 3 4 5 6 7 8 9; do eval "exec $i</dev/null"; done
	data=$(head -c 8000000 /dev/zero | tr '\0' x)
	(data="$data$data"; echo ready; cat >/dev/null; echo $data >/dev/null); true`

// The real groups of this machine, whichever it has. What version 2 says of CPU, and version 1 of memory, adds up to what is
// known of the processes.
func TestMemoryAndFilesOfARealGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a control group")
	}
	c, err := FindCgroups()
	require.NoError(t, err)
	require.NotEmpty(t, c.unified, "no cgroup v2 here")
	name := fmt.Sprintf("weir-test-memory-%d", os.Getpid())
	dirs := []string{filepath.Join(c.unified, name)}
	limit, at := "memory.max", dirs[0]
	if mount := c.legacy["memory"]; mount != "" {
		dirs = append(dirs, filepath.Join(mount, name))
		limit, at = "memory.limit_in_bytes", dirs[1]
	}
	pid := grouped(t, holding, dirs...)
	require.NoError(t, os.WriteFile(filepath.Join(at, limit), []byte("200000000"), 0o644))
	u, err := c.Usage(pid)
	require.NoError(t, err)
	require.Equal(t, "cgroup v2", u.Source)
	require.Greater(t, u.Memory, uint64(20e6), "8 MB in the shell, 16 MB more in its child")
	require.Less(t, u.Memory, uint64(120e6))
	require.InDelta(t, 200e6, u.MemoryLimit, 4096)
	require.GreaterOrEqual(t, u.Files, uint64(10))
	require.Less(t, u.Files, uint64(20))
	require.Positive(t, u.FilesLimit)

	c.unified, c.legacy["memory"] = "", ""
	alone, err := c.Usage(pid)
	require.NoError(t, err)
	require.Equal(t, "process", alone.Source)
	require.Greater(t, alone.Memory, uint64(20e6), "the child's memory counts without a group, too")
	require.Less(t, alone.Memory, uint64(120e6))
	require.InDelta(t, u.Files, alone.Files, 4, "the shell, or its child")
	require.Zero(t, alone.MemoryLimit)
}

// Version 1 alone: this machine has its controllers beside version 2.
func TestUsageOfARealLegacyGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a control group")
	}
	c, err := FindCgroups()
	require.NoError(t, err)
	if c.legacy["cpuacct"] == "" || c.legacy["cpu"] == "" {
		t.Skip("no cgroup v1 here")
	}
	c.unified = ""
	name := fmt.Sprintf("weir-test-legacy-%d", os.Getpid())
	dirs := []string{filepath.Join(c.legacy["cpuacct"], name)}
	if c.legacy["cpu"] != c.legacy["cpuacct"] {
		dirs = append(dirs, filepath.Join(c.legacy["cpu"], name))
	}
	pid := grouped(t, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; read end", dirs...)
	require.NoError(t, os.WriteFile(filepath.Join(dirs[len(dirs)-1], "cpu.cfs_quota_us"), []byte("50000"), 0o644))
	u, err := c.Usage(pid)
	require.NoError(t, err)
	require.Equal(t, "cgroup v1", u.Source)
	require.Greater(t, u.CPU, 10*time.Millisecond)
	require.Less(t, u.CPU, 10*time.Second)
	require.InDelta(t, 0.5, u.Quota, 1e-9)
}

// A process without a group counts with its children, those that run and those that ended.
func TestUsageOfARealTree(t *testing.T) {
	c, err := FindCgroups()
	require.NoError(t, err)
	c.unified, c.legacy = "", nil
	const work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo ready"
	for script, children := range map[string]int{"(" + work + "; read end); true": 1, "(" + work + "); read end": 0} {
		pid := grouped(t, script)
		u, err := c.Usage(pid)
		require.NoError(t, err)
		require.Equal(t, "process", u.Source)
		require.GreaterOrEqual(t, u.CPU, 30*time.Millisecond, "all of it by the child: %s", script)
		require.Eventually(t, func() bool { return len(c.members(pid, nil)) == 1+children }, 20*time.Second, time.Millisecond, script)
	}
}
