package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is the line without which no figure means anything.
func machine() string {
	var u unix.Utsname
	kernel := "?"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s, Linux %s, %d cores (%s), %s, load before %s", time.Now().UTC().Format(time.DateOnly),
		kernel, runtime.NumCPU(), model, runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " "))
}

// field reads a number of kilobytes out of a file like /proc/meminfo, in MiB.
func field(path, name string) (float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// slab is the kernel's memory in slabs, of the whole machine, in MiB.
func (t *trial) slab() float64 {
	mib, err := field("/proc/meminfo", "Slab")
	t.must(err)
	return mib
}

// memory is a process's resident memory now and at its highest, in MiB.
func (t *trial) memory(pid int) (now, peak float64) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	now, err := field(path, "VmRSS")
	t.must(err)
	peak, err = field(path, "VmHWM")
	t.must(err)
	return now, peak
}

// onCPU is the processor time of a process, all threads that live. /proc/PID/stat counts in steps of 10 ms, too coarse
// for an idle process.
func (t *trial) onCPU(pid int) (sum time.Duration) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	t.must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // that thread has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		t.must(err)
		sum += time.Duration(ns)
	}
	return sum
}

// used is the processor time of this process so far.
func (t *trial) used() time.Duration {
	var u unix.Rusage
	t.must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pause lets time pass, unless somebody stops the program.
func (t *trial) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
	t.must(nil)
}
