package sample

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-lb/weir/loadmon"
)

// Usage is what a process, or the control group that it is alone in, has used of the processor so far.
type Usage struct {
	CPU    time.Duration // ran
	Waited time.Duration // wanted to run and could not, all of its threads at once (pressure "full"); 0 where the kernel does not say
	Quota  float64       // processors that it may use; 0: no quota
	Source string        // where CPU comes from: "cgroup v2", "cgroup v1" or "process"
}

// Busy is the part of the time between two Usages in which it worked or wanted to, on a machine with a number of
// processors. Usage alone is blind to a neighbour: beside a hog on its processor it reads 0.47 where this reads 0.99.
func Busy(before, after Usage, elapsed time.Duration, processors int) float64 {
	if elapsed <= 0 || processors < 1 || after.CPU < before.CPU || after.Waited < before.Waited || after.Source != before.Source {
		return loadmon.MinBusy // restarted: the next interval knows more
	}
	used, wall := (after.CPU - before.CPU).Seconds(), elapsed.Seconds()
	busy := used/wall/float64(processors) + (after.Waited-before.Waited).Seconds()/wall
	if after.Quota > 0 {
		busy = max(busy, used/wall/after.Quota)
	}
	return min(max(busy, loadmon.MinBusy), 1)
}

// Cgroups reads what processes use. The zero value is not usable: see FindCgroups.
type Cgroups struct {
	proc    string
	unified string            // mount point of version 2; "": none
	legacy  map[string]string // mount points of version 1, by controller
}

// FindCgroups looks for the control group file systems, of which a host may have version 2, version 1, both or none.
func FindCgroups() (*Cgroups, error) { return findCgroups("/proc") }

func findCgroups(proc string) (*Cgroups, error) {
	text, err := os.ReadFile(filepath.Join(proc, "self/mounts"))
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	c := &Cgroups{proc: proc, legacy: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		switch fields[2] {
		case "cgroup2":
			c.unified = cmp.Or(c.unified, fields[1])
		case "cgroup":
			for option := range strings.SplitSeq(fields[3], ",") {
				if option == "cpu" || option == "cpuacct" {
					c.legacy[option] = fields[1]
				}
			}
		}
	}
	return c, nil
}

// Usage reads one process. A process in the root group has no group of its own, so only what it used itself counts, and
// nothing is known of its waiting.
func (c *Cgroups) Usage(pid int) (Usage, error) {
	groups, err := c.groups(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	u := Usage{Quota: c.quota(groups)}
	if group := groups[""]; c.unified != "" && own(group) {
		stat, err := valueOf(filepath.Join(c.unified, group, "cpu.stat"), "usage_usec")
		if err == nil {
			u.CPU, u.Source = time.Duration(stat)*time.Microsecond, "cgroup v2"
			// A kernel without pressure has no such file, and a group is not worse for it.
			u.Waited, _ = pressure(filepath.Join(c.unified, group, "cpu.pressure"))
			return u, nil
		}
	}
	if group := groups["cpuacct"]; c.legacy["cpuacct"] != "" && own(group) {
		used, err := number(filepath.Join(c.legacy["cpuacct"], group, "cpuacct.usage"))
		if err == nil {
			u.CPU, u.Source = time.Duration(used), "cgroup v1"
			return u, nil
		}
	}
	u.Source = "process"
	if u.CPU, err = c.process(pid); err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return u, nil
}

func own(group string) bool { return group != "" && group != "/" }

// groups are those of a process, by controller; version 2 is "".
func (c *Cgroups) groups(pid int) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(c.proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || strings.Contains(parts[2], "..") { // a group outside of what this namespace sees
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			out[controller] = parts[2]
		}
	}
	return out, nil
}

// quota is the smallest of the group and those above it, in processors; 0: none.
func (c *Cgroups) quota(groups map[string]string) float64 {
	least := 0.0
	take := func(quota, period int64, err error) {
		if err == nil && quota > 0 && period > 0 {
			if q := float64(quota) / float64(period); least == 0 || q < least {
				least = q
			}
		}
	}
	for group := groups[""]; c.unified != "" && own(group); group = path.Dir(group) {
		take(unifiedQuota(filepath.Join(c.unified, group, "cpu.max")))
	}
	for group := groups["cpu"]; c.legacy["cpu"] != "" && own(group); group = path.Dir(group) {
		dir := filepath.Join(c.legacy["cpu"], group)
		quota, err := number(filepath.Join(dir, "cpu.cfs_quota_us"))
		period, perr := number(filepath.Join(dir, "cpu.cfs_period_us"))
		take(quota, period, errors.Join(err, perr))
	}
	return least
}

// unifiedQuota reads "QUOTA PERIOD" or "max PERIOD".
func unifiedQuota(file string) (quota, period int64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 || fields[0] == "max" {
		return 0, 0, nil
	}
	quota, err = strconv.ParseInt(fields[0], 10, 64)
	period, perr := strconv.ParseInt(fields[1], 10, 64)
	return quota, period, errors.Join(err, perr)
}

// pressure reads the total of the line "full".
func pressure(file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if _, total, ok := strings.Cut(line, "total="); ok && strings.HasPrefix(line, "full ") {
			n, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s has no line \"full\"", file)
}

// ticks a second in which /proc counts time: the same on every Linux that Go runs on.
const ticks = 100

// process reads what a process and its threads have used.
func (c *Cgroups) process(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(c.proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything: blanks and parentheses too.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("its stat has %d fields", len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, serr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / ticks), errors.Join(err, serr)
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// valueOf reads "KEY VALUE" lines.
func valueOf(file, key string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), key+" "); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s: %w", file, key, fs.ErrNotExist)
}
