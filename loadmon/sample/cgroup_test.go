package sample

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// host is a file system as it would look on some host.
func host(t *testing.T, files map[string]string) *Cgroups {
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "ROOT", root)), 0o644))
	}
	c, err := findCgroups(filepath.Join(root, "proc"))
	require.NoError(t, err)
	return c
}

const stat = "17 (a b) c)) S 1 17 17 0 -1 4194304 1 0 0 0 240 40 10 10 20 0 1 0 1 1 1\n"

const limitsText = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 4096                 files     \n"

func TestUsageOnEveryKindOfHost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  Usage
	}{
		"version 2, quota and limit above": {map[string]string{
			"proc/self/mounts":                       "cgroup2 ROOT/cg cgroup2 rw 0 0\n",
			"proc/self/cgroup":                       "0::/system.slice/weir.service\n",
			"proc/17/cgroup":                         "0::/system.slice/a.service\n",
			"cg/system.slice/cpu.max":                "50000 100000\n",
			"cg/system.slice/memory.max":             "900\n",
			"cg/system.slice/a.service/cpu.max":      "max 100000\n",
			"cg/system.slice/a.service/cpu.stat":     "usage_usec 1500000\nuser_usec 1\n",
			"cg/system.slice/a.service/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n",
			"cg/system.slice/a.service/memory.max":   "max\n", "cg/system.slice/a.service/memory.current": "700\n",
			"cg/system.slice/a.service/memory.stat":  "anon 500\nactive_file 100\ninactive_file 200\n",
			"cg/system.slice/a.service/cgroup.procs": "0\n16\n17\n18\n", // 0: of another namespace
			"proc/16/fd/0":                           "", "proc/16/limits": limitsText,
			"proc/17/fd/0": "", "proc/17/fd/1": "", "proc/17/limits": limitsText,
			"proc/18/fd/0": "", "proc/18/fd/1": "", "proc/18/fd/2": "", "proc/18/limits": strings.ReplaceAll(limitsText, "1024 ", "unlimited "),
		}, Usage{CPU: 1500 * time.Millisecond, Waited: 250 * time.Millisecond, Quota: 0.5, Source: "cgroup v2", Memory: 500, MemoryLimit: 900, Files: 3}},
		"hybrid: CPU of 2, quota and memory of 1": {map[string]string{
			"proc/self/mounts":               "cgroup ROOT/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup2 ROOT/unified cgroup2 rw 0 0\ncgroup ROOT/memory cgroup rw,memory 0 0\n",
			"proc/self/cgroup":               "4:memory:/\n2:cpu,cpuacct:/\n0::/\n",
			"proc/17/cgroup":                 "4:memory:/a\n2:cpu,cpuacct:/a\n0::/a\n",
			"cpu/a/cpu.cfs_quota_us":         "20000\n",
			"cpu/a/cpu.cfs_period_us":        "100000\n",
			"unified/a/cpu.stat":             "usage_usec 7\n",
			"memory/a/memory.usage_in_bytes": "700\n",
			"memory/a/memory.stat":           "inactive_file 1\nhierarchical_memory_limit 1000\ntotal_inactive_file 300\n",
		}, Usage{CPU: 7 * time.Microsecond, Quota: 0.2, Source: "cgroup v2", Memory: 400, MemoryLimit: 1000}},
		"version 1 alone, without quota and limit": {map[string]string{
			"proc/self/mounts":               "cgroup ROOT/cpu cgroup rw,cpu 0 0\ncgroup ROOT/acct cgroup rw,cpuacct 0 0\ncgroup ROOT/memory cgroup rw,memory 0 0\n",
			"proc/self/cgroup":               "2:cpu:/\n3:cpuacct:/\n4:memory:/\n",
			"proc/17/cgroup":                 "2:cpu:/a\n3:cpuacct:/a\n4:memory:/a\n",
			"cpu/a/cpu.cfs_quota_us":         "-1\n",
			"cpu/a/cpu.cfs_period_us":        "100000\n",
			"acct/a/cpuacct.usage":           "42\n",
			"memory/a/memory.usage_in_bytes": "700\n",
			"memory/a/memory.stat":           "hierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 0\n",
			"memory/a/cgroup.procs":          "17\n",
			"proc/17/fd/0":                   "", "proc/17/limits": limitsText,
		}, Usage{CPU: 42, Source: "cgroup v1", Memory: 700, Files: 1, FilesLimit: 1024}},
		"root group: the process and its children": {map[string]string{
			"proc/self/mounts": "cgroup2 ROOT/cg cgroup2 rw 0 0\n",
			"proc/self/cgroup": "0::/\n",
			"proc/17/cgroup":   "0::/\n",
			"proc/17/stat":     stat, "proc/17/statm": "100 30 10 1 0 50 0\n", "proc/17/task/17/children": "18 19 ", "proc/17/fd/0": "", "proc/17/limits": limitsText,
			"proc/18/stat": stat, "proc/18/statm": "100 30 20 1 0 50 0\n", "proc/18/task/18/children": "20 ", "proc/18/fd/0": "", "proc/18/fd/1": "", "proc/18/limits": limitsText,
			"proc/20/stat": stat, "proc/20/statm": "100 5 5 1 0 50 0\n", // 19 ended meanwhile
			"cg/cpu.stat": "usage_usec 999\n",
		}, Usage{CPU: 9 * time.Second, Source: "process", Memory: 40 * uint64(os.Getpagesize()), Files: 2, FilesLimit: 1024}},
		"the group that we are in ourselves": {map[string]string{
			"proc/self/mounts": "cgroup2 ROOT/cg cgroup2 rw 0 0\n", "proc/self/cgroup": "0::/session\n", "proc/17/cgroup": "0::/session\n",
			"proc/17/stat": stat, "cg/session/cpu.stat": "usage_usec 999\n", "cg/session/cpu.max": "50000 100000\n",
		}, Usage{CPU: 3 * time.Second, Source: "process", Quota: 0.5}},
		"no control groups": {map[string]string{"proc/self/mounts": "", "proc/self/cgroup": "", "proc/17/cgroup": "", "proc/17/stat": stat}, Usage{CPU: 3 * time.Second, Source: "process"}},
		"a group that this namespace does not see": {map[string]string{
			"proc/self/mounts": "cgroup2 ROOT/cg cgroup2 rw 0 0\n", "proc/self/cgroup": "0::/\n", "proc/17/cgroup": "0::/../../b\n", "proc/17/stat": stat,
		}, Usage{CPU: 3 * time.Second, Source: "process"}},
	} {
		got, err := host(t, c.files).Usage(17)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

// A child that its parent waits for between two readings is not missing: what it used is its parent's from then on.
func TestUsageOfAChildThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	c := host(t, map[string]string{
		"proc/self/mounts": "", "proc/self/cgroup": "", "proc/17/cgroup": "", "proc/17/task/17/children": "18", // which is gone
		"proc/17/later": strings.Replace(stat, " 10 10 ", " 510 10 ", 1),
	})
	parent := c.process(17, "stat")
	require.NoError(t, unix.Mkfifo(parent, 0o644))
	wrote := make(chan error, 1)
	go func() {
		pipe, err := os.OpenFile(parent, os.O_WRONLY, 0) // when it is read
		if err != nil {
			wrote <- err
			return
		}
		_, err = pipe.WriteString(stat)
		wrote <- errors.Join(err, os.Rename(c.process(17, "later"), parent), pipe.Close())
	}()
	u, err := c.Usage(17)
	require.NoError(t, err)
	require.Equal(t, 8*time.Second, u.CPU)
	require.NoError(t, <-wrote)
}

func TestUsageOfNobody(t *testing.T) {
	t.Parallel()
	_, err := host(t, map[string]string{"proc/self/mounts": "", "proc/self/cgroup": ""}).Usage(17)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = host(t, map[string]string{"proc/self/mounts": "", "proc/self/cgroup": "", "proc/17/cgroup": "", "proc/17/stat": "17 (a) S 1"}).Usage(17)
	require.ErrorContains(t, err, "usage of process 17: its stat has 2 fields")
	root := t.TempDir()
	_, err = findCgroups(root)
	require.ErrorContains(t, err, "find the control groups")
	require.NoError(t, os.Mkdir(filepath.Join(root, "self"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "self/mounts"), nil, 0o644))
	_, err = findCgroups(root)
	require.ErrorContains(t, err, "self/cgroup")
}

func TestBusy(t *testing.T) {
	t.Parallel()
	v2 := func(cpu, waited time.Duration, quota float64) Usage {
		return Usage{CPU: cpu, Waited: waited, Quota: quota, Source: "cgroup v2"}
	}
	for name, c := range map[string]struct {
		before, after Usage
		want          float64
	}{
		"two of four processors":     {v2(0, 0, 0), v2(10*time.Second, 0, 0), 0.5},
		"beside a neighbour":         {v2(0, 0, 0), v2(10*time.Second, 2500*time.Millisecond, 0), 1},
		"its quota":                  {v2(0, 0, 0.5), v2(2*time.Second, 0, 0.5), 0.8},
		"idle":                       {v2(0, 0, 0), v2(0, 0, 0), 0.02},
		"restarted":                  {v2(time.Hour, 0, 0), v2(time.Second, 0, 0), 0.02},
		"another source of the time": {v2(0, 0, 0), Usage{CPU: 10 * time.Second, Source: "process"}, 0.02},
	} {
		require.InDelta(t, c.want, Busy(c.before, c.after, 5*time.Second, 4), 1e-9, name)
	}
	require.InDelta(t, 0.02, Busy(Usage{}, Usage{CPU: 1}, 0, 4), 1e-9)
	for want, after := range map[float64]Usage{0.5: v2(0, time.Second, 0), 1: v2(0, time.Hour, 0), 0: {Waited: time.Second, Source: "process"}} {
		require.InDelta(t, want, Pressure(v2(0, 0, 0), after, 2*time.Second), 1e-9)
	}
	require.Zero(t, Pressure(v2(0, 2, 0), v2(0, 1, 0), time.Second))
	require.Zero(t, Pressure(v2(0, 0, 0), v2(0, 1, 0), 0))
}

// A process that always wants to run is busy all the time, whether it has a processor or waits for one: what it used and what
// it waited add up to the time that passed, however loaded this machine is, but for what the host of a virtual one took away. It
// is kept on one processor: the kernel weighs the pressure of each with the time that the group spent there, so that a thread
// that moves seems to wait less.
func TestUsageOfARealGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a control group")
	}
	c, err := FindCgroups()
	require.NoError(t, err)
	require.NotEmpty(t, c.unified, "no cgroup v2 here")
	group := filepath.Join(c.unified, fmt.Sprintf("weir-test-%d", os.Getpid()))
	require.NoError(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.Remove(group) == nil }, 20*time.Second, 10*time.Millisecond)
	})
	busy := exec.CommandContext(t.Context(), "sh", "-c", "read go; echo; while :; do :; done")
	stdin, err := busy.StdinPipe()
	require.NoError(t, err)
	stdout, err := busy.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, busy.Start())
	t.Cleanup(func() { _ = busy.Process.Kill(); _ = busy.Wait() })
	require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, busy.Process.Pid), 0o644))
	var processors unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &processors))
	first := 0
	for !processors.IsSet(first) {
		first++
	}
	processors.Zero()
	processors.Set(first)
	require.NoError(t, unix.SchedSetaffinity(busy.Process.Pid, &processors))
	_, err = stdin.Write([]byte("go\n"))
	require.NoError(t, err)
	_, err = stdout.Read(make([]byte, 1)) // from now on it works
	require.NoError(t, err)

	stolen := -taken(t, first)
	earliest := time.Now()
	before, err := c.Usage(busy.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, "cgroup v2", before.Source)
	start := time.Now()
	time.Sleep(time.Second)
	least := time.Since(start) // to read takes its time, too, while others run
	after, err := c.Usage(busy.Process.Pid)
	most := time.Since(earliest)
	require.NoError(t, err)
	stolen += taken(t, first)
	least -= stolen
	ran := after.CPU - before.CPU + after.Waited - before.Waited
	require.Greater(t, ran.Seconds(), 0.85*least.Seconds())
	require.Less(t, ran.Seconds(), 1.15*most.Seconds())
	require.InDelta(t, 1, Busy(before, after, least, 1), 0.15)
	require.Greater(t, Busy(before, after, least, runtime.NumCPU()), 0.9/float64(runtime.NumCPU()))
}

// taken is the time of a processor that the host of this machine has given to others.
func taken(t *testing.T, processor int) time.Duration {
	fs, err := procfs.NewFS("/proc")
	require.NoError(t, err)
	stat, err := fs.Stat()
	require.NoError(t, err)
	return time.Duration(stat.CPU[int64(processor)].Steal * float64(time.Second))
}
