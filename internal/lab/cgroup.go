package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// quotaPeriod is the kernel's own default, and that of the usual container runtimes.
const quotaPeriod = 100 * time.Millisecond

// Cgroup is a control group with a name of the lab's, made in each hierarchy that says something of the processor: that
// of version 2, and the controllers of version 1 where the machine has them, or both.
type Cgroup struct {
	dirs []string
}

// Cgroup makes a control group whose processes share a part of one processor; 0: as much as they want.
func (l *Lab) Cgroup(name string, processors float64) (*Cgroup, error) {
	if !namespaceForm.MatchString(name) {
		return nil, fmt.Errorf("control group name %q: want a-z, 0-9 and dashes", name)
	}
	all, err := findHierarchies()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	c := &Cgroup{}
	if err := c.create(all, l.prefix+"-"+name, processors); err != nil {
		return nil, errors.Join(fmt.Errorf("control group %s: %w", name, err), c.remove())
	}
	l.cgroups = append(l.cgroups, c)
	return c, nil
}

// CgroupTree is the name of a control group that somebody else makes, below the root of any hierarchy, with others in it. What
// there is of it goes with the lab.
func (l *Lab) CgroupTree(name string) (string, error) {
	if !namespaceForm.MatchString(name) {
		return "", fmt.Errorf("control group name %q: want a-z, 0-9 and dashes", name)
	}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", wrap("find the control groups", err)
	}
	c := &Cgroup{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 3 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			c.dirs = append(c.dirs, filepath.Join(fields[1], l.prefix+"-"+name))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", errClosed
	}
	l.cgroups = append(l.cgroups, c)
	return l.prefix + "-" + name, nil
}

func (c *Cgroup) create(all []hierarchy, name string, processors float64) error {
	limited := false
	for _, h := range all {
		dir := filepath.Join(h.mount, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		c.dirs = append(c.dirs, dir)
		if !h.limits {
			continue
		}
		if err := h.limit(dir, processors); err != nil {
			return err
		}
		limited = true
	}
	if !limited && processors > 0 {
		return errors.New("this machine has no control groups that limit the processor")
	}
	return nil
}

// Add moves a process, with all its threads, into the group.
func (c *Cgroup) Add(pid int) error {
	for _, dir := range c.dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("add process %d to a control group: %w", pid, err)
		}
	}
	return nil
}

// Used is the processor time that all processes of the group have used so far.
func (c *Cgroup) Used() (time.Duration, error) {
	for _, dir := range c.dirs {
		if text, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage")); err == nil {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			return time.Duration(ns), err
		}
		text, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
				us, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				return time.Duration(us) * time.Microsecond, err
			}
		}
	}
	return 0, errors.New("no control group of this machine says what is used of the processor")
}

// remove removes the group, once what was in it is dead.
func (c *Cgroup) remove() error {
	var errs []error
	for _, dir := range c.dirs {
		errs = append(errs, removeCgroup(dir))
	}
	return errors.Join(errs...)
}

// removeCgroup kills what is in a group and those within it, and removes them. The dead leave a group a moment after they have ended.
func removeCgroup(dir string) error {
	within, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, procs := range within {
		if err := removeCgroup(filepath.Dir(procs)); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		killMembers(dir)
	}
}

func killMembers(dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return // it is gone
	}
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
		}
	}
}

// hierarchy is one of the machine's trees of control groups.
type hierarchy struct {
	mount   string
	unified bool // version 2
	limits  bool // it can limit the processor
}

func findHierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, wrap("find the control groups", err)
	}
	all := hierarchies(string(text))
	for i, h := range all {
		if h.unified {
			controllers, _ := os.ReadFile(filepath.Join(h.mount, "cgroup.controllers"))
			all[i].limits = strings.Contains(" "+strings.TrimSpace(string(controllers))+" ", " cpu ")
		}
	}
	return all, nil
}

// hierarchies reads them out of a table of mounts.
func hierarchies(mounts string) (all []hierarchy) {
	seen := map[string]bool{}
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 4 || seen[fields[1]] {
			continue
		}
		h := hierarchy{mount: fields[1], unified: fields[2] == "cgroup2"}
		accounts := false
		for option := range strings.SplitSeq(fields[3], ",") {
			h.limits = h.limits || fields[2] == "cgroup" && option == "cpu"
			accounts = accounts || fields[2] == "cgroup" && option == "cpuacct"
		}
		if h.unified || h.limits || accounts {
			all = append(all, h)
			seen[h.mount] = true
		}
	}
	return all
}

func (h hierarchy) limit(dir string, processors float64) error {
	if processors <= 0 {
		return nil
	}
	quota, period := int64(processors*float64(quotaPeriod.Microseconds())), quotaPeriod.Microseconds()
	if !h.unified {
		return errors.Join(
			os.WriteFile(filepath.Join(dir, "cpu.cfs_period_us"), []byte(strconv.FormatInt(period, 10)), 0),
			os.WriteFile(filepath.Join(dir, "cpu.cfs_quota_us"), []byte(strconv.FormatInt(quota, 10)), 0),
		)
	}
	if err := os.WriteFile(filepath.Join(h.mount, "cgroup.subtree_control"), []byte("+cpu"), 0); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cpu.max"), fmt.Appendf(nil, "%d %d", quota, period), 0)
}
