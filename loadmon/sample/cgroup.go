package sample

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Cgroups reads what processes use. The zero value is not usable: see FindCgroups. One goroutine uses it.
type Cgroups struct {
	files   files
	proc    string
	unified string            // mount point of version 2; "": none
	legacy  map[string]string // mount points of version 1, by controller
	self    map[string]string // our own groups, by controller: what shares one with us has none of its own
	sizes   bool              // the size of the directory fd is the number of files (Linux 6.2)

	parsed  memo[map[string]string] // what /proc/PID/cgroup says, by its text
	limited memo[limits]            // of groups: many instances have the same ones above them
	mayOpen memo[uint64]            // how many files a process may open
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
				c.legacy[option] = fields[1]
			}
		}
	}
	c.self, err = c.groups("self")
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	info, err := os.Stat(filepath.Join(proc, "self/fd"))
	c.sizes = err == nil && info.Size() > 0
	return c, nil
}

// Usage reads one process. Where that has no control group of its own, what it and its children use counts, and nothing is
// known of their waiting.
func (c *Cgroups) Usage(pid int) (Usage, error) {
	groups, err := c.groups(strconv.Itoa(pid))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	above := c.limits(groups)
	u := Usage{Quota: above.processors}
	members := c.members(pid, groups)
	switch {
	case c.unifiedCPU(groups, &u), c.legacyCPU(groups, &u):
	default:
		u.Source = "process"
		if u.CPU, err = c.ran(members); err != nil {
			return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
		}
	}
	switch {
	case c.unifiedMemory(groups, above, &u), c.legacyMemory(groups, &u):
	default:
		u.Memory = c.resident(members)
	}
	u.Files, u.FilesLimit = c.openFiles(members)
	return u, nil
}

// own is the directory of a process's group of one controller (version 2: ""); false where it has none of its own.
func (c *Cgroups) own(groups map[string]string, controller string) (string, bool) {
	mount := c.legacy[controller]
	if controller == "" {
		mount = c.unified
	}
	group := groups[controller]
	if mount == "" || group == "" || group == "/" || group == c.self[controller] {
		return "", false
	}
	return mount + group, true
}

func (c *Cgroups) unifiedCPU(groups map[string]string, u *Usage) bool {
	dir, ok := c.own(groups, "")
	if !ok {
		return false
	}
	used, err := c.files.value(dir+"/cpu.stat", "usage_usec")
	if err != nil {
		return false
	}
	u.CPU, u.Source = time.Duration(used)*time.Microsecond, "cgroup v2"
	// A kernel without pressure has no such file, and a group is not worse for it.
	u.Waited, _ = c.pressure(dir + "/cpu.pressure")
	return true
}

func (c *Cgroups) legacyCPU(groups map[string]string, u *Usage) bool {
	dir, ok := c.own(groups, "cpuacct")
	if !ok {
		return false
	}
	used, err := c.files.number(dir + "/cpuacct.usage")
	u.CPU, u.Source = time.Duration(used), "cgroup v1"
	return err == nil
}

// groups are those of a process, by controller; version 2 is "".
func (c *Cgroups) groups(pid string) (map[string]string, error) {
	text, err := c.files.read(c.proc + "/" + pid + "/cgroup")
	if err != nil {
		return nil, err
	}
	return c.parsed.get(string(text), time.Now(), parsedFor, func() map[string]string { return parseGroups(string(text)) }), nil
}

func parseGroups(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || strings.Contains(parts[2], "..") { // a group outside of what this namespace sees
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			out[controller] = parts[2]
		}
	}
	return out
}

// How long what hardly ever changes is believed: a fifth of what a sample costs would be to read it again and again.
const (
	parsedFor = time.Minute
	limitsFor = 15 * time.Second
	filesFor  = time.Minute
)

// below says whether a group lies below the root.
func below(group string) bool { return group != "" && group != "/" && group != "." }

// limits are those of one group or of several: of several, the smallest of each. 0: none.
type limits struct {
	processors float64
	memory     uint64
}

func (l limits) with(m limits) limits {
	if m.processors > 0 && (l.processors == 0 || m.processors < l.processors) {
		l.processors = m.processors
	}
	if m.memory > 0 && (l.memory == 0 || m.memory < l.memory) {
		l.memory = m.memory
	}
	return l
}

// limits are those of a process's group and of those above it.
func (c *Cgroups) limits(groups map[string]string) (sum limits) {
	now := time.Now()
	walk := func(mount, group string, read func(dir string) limits) {
		for ; mount != "" && below(group); group = path.Dir(group) {
			dir := mount + group
			sum = sum.with(c.limited.get(dir, now, limitsFor, func() limits { return read(dir) }))
		}
	}
	walk(c.unified, groups[""], c.unifiedLimits)
	walk(c.legacy["cpu"], groups["cpu"], c.legacyLimits)
	return sum
}

// unifiedLimits reads "QUOTA PERIOD" or "max PERIOD", and a number or "max".
func (c *Cgroups) unifiedLimits(dir string) (l limits) {
	if text, err := c.files.read(dir + "/cpu.max"); err == nil {
		fields := strings.Fields(string(text))
		if len(fields) == 2 {
			l.processors = quotient(fields[0], fields[1])
		}
	}
	if memory, err := c.files.number(dir + "/memory.max"); err == nil {
		l.memory = limited(memory)
	}
	return l
}

func (c *Cgroups) legacyLimits(dir string) limits {
	quota, err := c.files.number(dir + "/cpu.cfs_quota_us")
	period, perr := c.files.number(dir + "/cpu.cfs_period_us")
	if err != nil || perr != nil || quota <= 0 || period <= 0 {
		return limits{}
	}
	return limits{processors: float64(quota) / float64(period)}
}

// quotient is the quota in processors; 0: it is none.
func quotient(quota, period string) float64 {
	q, err := strconv.ParseInt(quota, 10, 64)
	p, perr := strconv.ParseInt(period, 10, 64)
	if err != nil || perr != nil || q <= 0 || p <= 0 {
		return 0
	}
	return float64(q) / float64(p)
}

// pressure reads the total of the line "full".
func (c *Cgroups) pressure(file string) (time.Duration, error) {
	text, err := c.files.read(file)
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
