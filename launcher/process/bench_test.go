package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// weir builds the program as it is released.
func weir(b *testing.B) string {
	file := filepath.Join(b.TempDir(), "weir")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "github.com/weir-lb/weir/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
	return file
}

func sleeper(i int) launcher.Spec {
	return launcher.Spec{ID: fmt.Sprintf("i%04d", i), Service: "s", Command: []string{"/bin/sleep", "300"}}
}

// BenchmarkStart is the time of one Ensure, until the instance runs.
func BenchmarkStart(b *testing.B) {
	c := place(b)
	c.Shim = []string{weir(b), "shim"}
	c.KeepStopped = -1
	d, err := process.Open(c)
	require.NoError(b, err)
	defer d.Close()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		require.NoError(b, d.Ensure(b.Context(), sleeper(0)))
		times = append(times, time.Since(start))
		b.StopTimer()
		require.NoError(b, d.Stop(b.Context(), sleeper(0).ID, time.Second))
		b.StartTimer()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkIdleShims is what 200 shims cost beside instances that do nothing: memory, and processor time over ten seconds.
// -benchtime 1x is enough.
func BenchmarkIdleShims(b *testing.B) {
	c := place(b)
	c.Shim = []string{weir(b), "shim"}
	d, err := process.Open(c)
	require.NoError(b, err)
	defer d.Close()
	const count = 200
	for b.Loop() {
		start := time.Now()
		for i := range count {
			require.NoError(b, d.Ensure(b.Context(), sleeper(i)))
		}
		b.ReportMetric(time.Since(start).Seconds(), "start-s")
		time.Sleep(2 * time.Second)
		before := ticks(b, c, count)
		time.Sleep(10 * time.Second)
		var own, shared uint64
		for i := range count {
			r, err := shim.ReadRecord(filepath.Join(c.Dir, sleeper(i).ID))
			require.NoError(b, err)
			own += kilobytes(b, r.Shim.PID, "Private_Clean:") + kilobytes(b, r.Shim.PID, "Private_Dirty:")
			shared += kilobytes(b, r.Shim.PID, "Pss:")
		}
		b.ReportMetric(float64(own)/count/1024, "own-MiB/shim")
		b.ReportMetric(float64(shared)/count/1024, "pss-MiB/shim")
		b.ReportMetric(float64(ticks(b, c, count)-before)*10, "cpu-ms/10s")
		for i := range count {
			require.NoError(b, d.Stop(b.Context(), sleeper(i).ID, time.Second))
		}
	}
}

// kilobytes is one line of what the kernel knows of a process's memory.
func kilobytes(b *testing.B, pid int, line string) uint64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	require.NoError(b, err)
	_, rest, found := strings.Cut(string(text), line)
	require.True(b, found)
	n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	require.NoError(b, err)
	return n
}

// ticks is the processor time of all shims so far, in hundredths of a second.
func ticks(b *testing.B, c process.Config, count int) (sum uint64) {
	for i := range count {
		r, err := shim.ReadRecord(filepath.Join(c.Dir, sleeper(i).ID))
		require.NoError(b, err)
		text, err := os.ReadFile("/proc/" + strconv.Itoa(r.Shim.PID) + "/stat")
		require.NoError(b, err)
		fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
		for _, f := range fields[11:13] {
			n, err := strconv.ParseUint(f, 10, 64)
			require.NoError(b, err)
			sum += n
		}
	}
	return sum
}
