package sample

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is the name of one of its files.
func (c *Cgroups) process(pid int, file string) string {
	return c.proc + "/" + strconv.Itoa(pid) + "/" + file
}

// maxMembers is how many processes of an instance are looked at one by one.
const maxMembers = 32

// members are an instance's processes, at most maxMembers of them, beginning with the one that listens: those of its control
// group, or where it has none of its own, its children and theirs.
func (c *Cgroups) members(pid int, groups map[string]string) []int {
	for _, controller := range []string{"", "memory", "cpuacct", "cpu", "pids"} {
		dir, ok := c.own(groups, controller)
		if !ok {
			continue
		}
		if text, err := c.files.read(dir + "/cgroup.procs"); err == nil { // it fails where threads are grouped one by one
			return c.with([]int{pid}, string(text))
		}
	}
	out := []int{pid}
	for i := 0; i < len(out) && len(out) < maxMembers; i++ {
		parent := strconv.Itoa(out[i])
		// Those that the first thread started: servers with worker processes start them there. A kernel may lack the file.
		children, _ := c.files.read(c.proc + "/" + parent + "/task/" + parent + "/children")
		out = c.with(out, string(children))
	}
	return out
}

func (c *Cgroups) with(out []int, more string) []int {
	for text := range strings.FieldsSeq(more) {
		// Process 0 is one of another namespace, which cannot be looked at from here.
		if pid, err := strconv.Atoi(text); err == nil && pid > 0 && len(out) < maxMembers && !slices.Contains(out, pid) {
			out = append(out, pid)
		}
	}
	return out
}

// ticks a second in which /proc counts time: the same on every Linux that Go runs on.
const ticks = 100

// ran adds up what processes have used, and with them those of their children that ended. The first one must be there. When
// another one has gone meanwhile all are read again: its time is its parent's now, and would be missing this once.
func (c *Cgroups) ran(pids []int) (sum time.Duration, err error) {
	for i, pid := range pids {
		used, err := c.stat(pid)
		switch {
		case err != nil && i == 0:
			return 0, err
		case err != nil:
			return c.ran(slices.Delete(slices.Clone(pids), i, i+1))
		}
		sum += used
	}
	return sum, nil
}

// stat reads what a process and its threads have used, and its children that it has waited for.
func (c *Cgroups) stat(pid int) (sum time.Duration, err error) {
	text, err := c.files.read(c.process(pid, "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything: blanks and parentheses too.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("its stat has %d fields", len(fields))
	}
	var errs error
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		sum, errs = sum+time.Duration(n)*(time.Second/ticks), errors.Join(errs, err)
	}
	return sum, errs
}

// openFiles are those of that process which is nearest to its limit: it is the one that will fail.
func (c *Cgroups) openFiles(pids []int) (open, limit uint64) {
	now := time.Now()
	for i, pid := range pids {
		n, ok := c.opened(pid)
		if !ok {
			continue
		}
		most := c.mayOpen.get(strconv.Itoa(pid), now, filesFor, func() uint64 { return c.fileLimit(pid) })
		if i == 0 || part(n, most) > part(open, limit) {
			open, limit = n, most
		}
	}
	return open, limit
}

func part(n, limit uint64) float64 { return float64(n) / float64(max(limit, 1)) }

// opened counts the open files of a process.
func (c *Cgroups) opened(pid int) (n uint64, ok bool) {
	dir := c.process(pid, "fd")
	if c.sizes {
		var info unix.Stat_t
		err := unix.Stat(dir, &info)
		return uint64(info.Size), err == nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return uint64(len(names)), err == nil
}

// fileLimit is how many files a process may open; 0: no limit, or it is not known.
func (c *Cgroups) fileLimit(pid int) uint64 {
	text, _ := c.files.read(c.process(pid, "limits"))
	_, line, _ := strings.Cut(string(text), "Max open files")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return 0
	}
	limit, _ := strconv.ParseUint(fields[0], 10, 64) // "unlimited" is 0
	return limit
}
