package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Members are the processes in the group, without this one: a thread of it that has entered may not yet have ended.
func (g Group) Members() []int {
	var pids []int
	for _, dir := range g.dirs() {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // it was removed: nothing is in it
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && pid != os.Getpid() { // 0: outside of this pid namespace
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// Kill ends all members, those that are being forked included, and says whether the group is empty in the end.
func (g Group) Kill(wait time.Duration) bool {
	for deadline := time.Now().Add(wait); ; {
		if g.Unified == "" || write(filepath.Join(g.Unified, "cgroup.kill"), "1") != nil { // before Linux 5.14
			g.killFrozen()
		}
		for nap := time.Millisecond; nap < 20*time.Millisecond; nap *= 2 {
			if len(g.Members()) == 0 {
				return true
			}
			time.Sleep(nap)
		}
		if time.Now().After(deadline) {
			return false
		}
		g.killFrozen() // somebody with the rights for it may have left one of the groups
	}
}

// killFrozen signals the members one by one, held still where there is a freezer: a pid that was read belongs to a
// member until it is signalled, and none is forked in between.
func (g Group) killFrozen() {
	if freezer := g.Legacy["freezer"]; freezer != "" && write(filepath.Join(freezer, "freezer.state"), "FROZEN") == nil {
		await(filepath.Join(freezer, "freezer.state"), "FROZEN")
		defer func() { _ = write(filepath.Join(freezer, "freezer.state"), "THAWED") }()
	} else if g.Unified != "" && write(filepath.Join(g.Unified, "cgroup.freeze"), "1") == nil {
		await(filepath.Join(g.Unified, "cgroup.events"), "frozen 1")
		defer func() { _ = write(filepath.Join(g.Unified, "cgroup.freeze"), "0") }()
	}
	for _, pid := range g.Members() {
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
	}
}

// await waits for a text in a file of the kernel's, for as long as freezing takes.
func await(file, want string) {
	for range 100 {
		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), want) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
