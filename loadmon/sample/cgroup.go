package sample

import (
	"bytes"
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
)

// Cgroups reads what processes use. The zero value is not usable: see FindCgroups.
type Cgroups struct {
	proc    string
	unified string            // mount point of version 2; "": none
	legacy  map[string]string // mount points of version 1, by controller
	self    map[string]string // our own groups, by controller: what shares one with us has none of its own
	sizes   bool              // the size of the directory fd is the number of files (Linux 6.2)
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
	u := Usage{Quota: c.quota(groups)}
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
	case c.unifiedMemory(groups, &u), c.legacyMemory(groups, &u):
	default:
		u.Memory = c.resident(members)
	}
	u.Files, u.FilesLimit = c.files(members)
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
	return filepath.Join(mount, group), true
}

func (c *Cgroups) unifiedCPU(groups map[string]string, u *Usage) bool {
	dir, ok := c.own(groups, "")
	if !ok {
		return false
	}
	used, err := valueOf(filepath.Join(dir, "cpu.stat"), "usage_usec")
	if err != nil {
		return false
	}
	u.CPU, u.Source = time.Duration(used)*time.Microsecond, "cgroup v2"
	// A kernel without pressure has no such file, and a group is not worse for it.
	u.Waited, _ = pressure(filepath.Join(dir, "cpu.pressure"))
	return true
}

func (c *Cgroups) legacyCPU(groups map[string]string, u *Usage) bool {
	dir, ok := c.own(groups, "cpuacct")
	if !ok {
		return false
	}
	used, err := number(filepath.Join(dir, "cpuacct.usage"))
	u.CPU, u.Source = time.Duration(used), "cgroup v1"
	return err == nil
}

// groups are those of a process, by controller; version 2 is "".
func (c *Cgroups) groups(pid string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(c.proc, pid, "cgroup"))
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

// below says whether a group lies below the root.
func below(group string) bool { return group != "" && group != "/" && group != "." }

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
	for group := groups[""]; c.unified != "" && below(group); group = path.Dir(group) {
		take(unifiedQuota(filepath.Join(c.unified, group, "cpu.max")))
	}
	for group := groups["cpu"]; c.legacy["cpu"] != "" && below(group); group = path.Dir(group) {
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

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// valueOf reads "KEY VALUE" lines.
func valueOf(file, key string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(key+" ")); ok {
			return strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s: %w", file, key, fs.ErrNotExist)
}
