package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Group is the control group of one instance. The zero value is none: it limits nothing and has no members.
type Group struct {
	Unified string            `json:"unified,omitempty"` // directory in version 2
	Legacy  map[string]string `json:"legacy,omitempty"`  // directories in version 1, by controller
}

// Limits of a group; 0 is none.
type Limits struct {
	CPU    float64 // processors
	Memory uint64  // bytes
}

// Make makes the group NAME below PARENT, or takes it as it is, and limits it. What this host cannot do of that is in the
// texts; the group is usable in any case.
func (m Mounts) Make(parent, name string, limits Limits) (Group, []string) {
	g := Group{Legacy: map[string]string{}}
	var complaints []string
	complain := func(err error) {
		if err != nil && limits != (Limits{}) { // who wants no limits misses nothing
			complaints = append(complaints, err.Error())
		}
	}
	if m.Unified != "" {
		dir := dirOf(m.Unified, parent, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			complain(fmt.Errorf("no control group: %w", err))
		} else {
			g.Unified = dir
		}
	}
	for controller, mount := range m.Legacy {
		if !limits.need(controller) {
			continue
		}
		dir := dirOf(mount, parent, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			complain(fmt.Errorf("no control group: %w", err))
			continue
		}
		g.Legacy[controller] = dir
	}
	complain(m.limitMemory(g, limits.Memory))
	complain(m.limitCPU(g, limits.CPU))
	return g, complaints
}

// dirOf is where a group is in one hierarchy. No name of ours is one of the kernel's files.
func dirOf(mount, parent, name string) string { return filepath.Join(mount, parent, "i-"+name) }

// Sweep removes the group NAME below PARENT, of which there may be no record, where it is there and nobody is in it.
func (m Mounts) Sweep(parent, name string) {
	for _, mount := range append(slices.Collect(maps.Values(m.Legacy)), m.Unified) {
		if mount != "" {
			_ = unix.Rmdir(dirOf(mount, parent, name)) // the kernel refuses to remove one with members
		}
	}
}

// need says whether a group of version 1 is worth having.
func (l Limits) need(controller string) bool {
	switch controller {
	case "memory":
		return l.Memory > 0
	case "cpu":
		return l.CPU > 0
	}
	return true
}

// OOMKills is how often the kernel killed something in the group because its memory was used up.
func (g Group) OOMKills() int {
	for _, file := range []string{filepath.Join(g.Unified, "memory.events"), filepath.Join(g.Legacy["memory"], "memory.oom_control")} {
		if !filepath.IsAbs(file) {
			continue
		}
		if n, err := valueOf(file, "oom_kill"); err == nil {
			return n
		}
	}
	return 0
}

// Enter moves the calling thread into the groups of version 1, so that what it forks is born there. Version 2 takes a
// child at its birth: see Open. The thread is of no use for anything else afterwards.
func (g Group) Enter() error {
	var errs []error
	for _, dir := range g.Legacy {
		errs = append(errs, write(filepath.Join(dir, "tasks"), strconv.Itoa(unix.Gettid())))
	}
	return errors.Join(errs...)
}

// Open is the group of version 2 for a child to be born in; nil when there is none.
func (g Group) Open() (*os.File, error) {
	if g.Unified == "" {
		return nil, nil
	}
	return os.Open(g.Unified)
}

// leaving is how long the last member of a group may still count as one for the kernel, once it is on its way out.
const leaving = 5 * time.Second

// Remove takes the group away, which must be empty. The kernel may need a moment after the last member.
func (g Group) Remove() error {
	var errs []error
	deadline := time.Now().Add(leaving)
	for _, dir := range g.dirs() {
		err := unix.Rmdir(dir)
		for nap := time.Millisecond; errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) && len(g.Members()) == 0; nap = min(2*nap, 100*time.Millisecond) {
			time.Sleep(nap)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

func (g Group) dirs() (out []string) {
	for _, dir := range g.Legacy {
		out = append(out, dir)
	}
	if g.Unified != "" {
		out = append(out, g.Unified)
	}
	return out
}
