package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fake is a control group file system whose files only take what is written.
func fake(t *testing.T, files map[string]string) string {
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	return root
}

func read(t *testing.T, parts ...string) string {
	text, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(text)
}

func TestFind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want Mounts
	}{
		"version 2": {"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", Mounts{"/sys/fs/cgroup", map[string]string{}}},
		"hybrid": {
			"cgroup /c/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/pids cgroup rw,pids 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n",
			Mounts{"/c/unified", map[string]string{"cpu": "/c/cpu", "memory": "/c/memory"}},
		},
		"none": {"proc /proc proc rw 0 0\nodd\n", Mounts{"", map[string]string{}}},
		"two":  {"a /a cgroup2 rw 0 0\na /b cgroup2 rw 0 0\n", Mounts{"/a", map[string]string{}}},
	} {
		got, err := find(filepath.Join(fake(t, map[string]string{"mounts": c.text}), "mounts"))
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	_, err := find("/nonexistent")
	require.ErrorContains(t, err, "find the control groups")
}

func TestLimitsOfVersion2(t *testing.T) {
	t.Parallel()
	root := fake(t, map[string]string{
		"cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "", "weir/cgroup.subtree_control": "",
		"weir/i-a/memory.max": "", "weir/i-a/memory.swap.max": "", "weir/i-a/cpu.max": "",
	})
	g, complaints := Mounts{Unified: root}.Make("weir", "a", Limits{CPU: 1.5, Memory: 1 << 20})
	require.Empty(t, complaints)
	require.Equal(t, filepath.Join(root, "weir/i-a"), g.Unified)
	require.Equal(t, "1048576", read(t, g.Unified, "memory.max"))
	require.Equal(t, "0", read(t, g.Unified, "memory.swap.max"))
	require.Equal(t, "150000 100000", read(t, g.Unified, "cpu.max"))
	for _, dir := range []string{root, filepath.Join(root, "weir")} {
		require.Equal(t, "+cpuory", read(t, dir, "cgroup.subtree_control"), "+memory and then +cpu, in a file that is not the kernel's")
	}
	require.NoError(t, os.WriteFile(filepath.Join(g.Unified, "memory.events"), []byte("low 0\noom 3\noom_kill 2\n"), 0o644))
	require.Equal(t, 2, g.OOMKills())
	require.Zero(t, Group{}.OOMKills())
}

func TestWhatAHostCannotLimit(t *testing.T) {
	t.Parallel()
	both := Limits{CPU: 1, Memory: 1 << 20}
	for name, c := range map[string]struct {
		mounts Mounts
		limits Limits
		want   []string
	}{
		"nothing":                  {Mounts{}, both, []string{`memory is not limited: this host has no control groups with "memory"`, `processor time is not limited: this host has no control groups with "cpu"`}},
		"nothing, and none wanted": {Mounts{}, Limits{}, nil},
		"no controllers":           {Mounts{Unified: fake(t, map[string]string{"cgroup.controllers": "pids\n"})}, both, []string{`do not offer "memory"`, `do not offer "cpu"`}},
		"not allowed":              {Mounts{Unified: fake(t, map[string]string{"cgroup.controllers": "cpu memory\n"})}, both, []string{"cgroup.subtree_control: no such file", "cgroup.subtree_control: no such file"}},
		"no directory":             {Mounts{Unified: "/dev/null"}, both, []string{"no control group: mkdir /dev/null", "no control groups", "no control groups"}},
		"version 1, not writable":  {Mounts{Legacy: map[string]string{"memory": "/dev/null"}}, Limits{Memory: 1 << 20}, []string{"no control group: mkdir /dev/null", "no control groups"}},
	} {
		_, complaints := c.mounts.Make("weir", "a", c.limits)
		require.Len(t, complaints, len(c.want), "%s: %q", name, complaints)
		for i := range c.want {
			require.Contains(t, complaints[i], c.want[i], name)
		}
	}
}

// onThread calls do on a thread that ends with it; the first one of a process would not.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- do()
			return
		}
		err := onThread(do)
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// started starts a shell inside a group, as a shim does.
func started(t *testing.T, g Group, script string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	dir, err := g.Open()
	require.NoError(t, err)
	if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	require.NoError(t, onThread(func() error {
		if err := g.Enter(); err != nil {
			return err
		}
		return cmd.Start()
	}))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

const family = `trap "" TERM; sleep 300 & setsid sh -c 'sleep 301 & (setsid sleep 302 &) ; sleep 303' & wait`

// Each kind of host that this one can be taken for ends a tree that went into sessions of its own, and leaves no group.
func TestKill(t *testing.T) {
	t.Parallel()
	all, err := Find()
	require.NoError(t, err)
	kinds := map[string]Mounts{"as it is": all}
	if freezer := all.Legacy["freezer"]; freezer != "" {
		kinds["version 1 with its freezer"] = Mounts{Legacy: map[string]string{"freezer": freezer}}
	}
	if all.Unified != "" {
		kinds["version 2"] = Mounts{Unified: all.Unified}
	}
	if memory := all.Legacy["memory"]; memory != "" {
		kinds["version 1 without a freezer"] = Mounts{Legacy: map[string]string{"memory": memory}}
	}
	require.Greater(t, len(kinds), 1, "no control groups here")
	for name, m := range kinds {
		parent := fmt.Sprintf("weir-test-%d-%d", os.Getpid(), len(name))
		g, complaints := m.Make(parent, "a", Limits{Memory: 1 << 30})
		t.Cleanup(func() {
			for _, mount := range append([]string{m.Unified}, m.Legacy["freezer"], m.Legacy["memory"]) {
				if mount != "" {
					require.NoError(t, os.Remove(filepath.Join(mount, parent)))
				}
			}
		})
		if name == "as it is" {
			require.Empty(t, complaints)
		}
		cmd := started(t, g, family)
		require.Eventually(t, func() bool { return len(g.Members()) >= 6 }, time.Minute, time.Millisecond, name)
		require.ErrorContains(t, g.Remove(), "busy", name)
		if name == "version 2" {
			g.killFrozen() // before Linux 5.14
		}
		require.True(t, g.Kill(5*time.Second), name)
		require.Error(t, cmd.Wait(), name)
		require.Empty(t, g.Members(), name)
		require.NoError(t, g.Remove(), name)
		require.NoError(t, g.Remove(), "again: %s", name)
		require.True(t, g.Kill(0), "nothing is there to kill: %s", name)
	}
}

func TestProcessorLimit(t *testing.T) {
	t.Parallel()
	m, err := Find()
	require.NoError(t, err)
	parent := fmt.Sprintf("weir-test-%d-cpu", os.Getpid())
	g, complaints := m.Make(parent, "a", Limits{CPU: 0.1})
	require.Empty(t, complaints)
	t.Cleanup(func() {
		require.True(t, g.Kill(5*time.Second))
		require.NoError(t, g.Remove())
		for _, dir := range g.dirs() {
			require.NoError(t, os.Remove(filepath.Dir(dir)))
		}
	})
	begin := time.Now()
	cmd := started(t, g, "while :; do :; done")
	time.Sleep(time.Second)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	used, took := cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), time.Since(begin)
	require.Less(t, used, took*4/10, "a tenth of a processor, over %s", took)
}
