package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// tree is the instance with all that it started: the members of its group, and all children of this process, which
// orphans become.
type tree struct {
	first int // process id of the instance itself
	group cgroup.Group
	ended *unix.WaitStatus // how the first process ended; nil: it runs
}

// reap takes the exit status of every child that has ended, and says whether there are others.
func (t *tree) reap() (left bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid == 0:
			return err == nil
		case pid == t.first:
			t.ended = &status
		}
	}
}

// empty says whether nothing is left.
func (t *tree) empty() bool { return !t.reap() && len(t.group.Members()) == 0 }

// ask sends TERM: to the first process while it runs, afterwards to all others. Only this goroutine reaps, so that the
// id of a child stays its own until then.
func (t *tree) ask() {
	if t.ended == nil {
		_ = unix.Kill(t.first, unix.SIGTERM)
		return
	}
	for _, pid := range t.group.Members() {
		if p, err := Find(pid); err == nil {
			_ = p.Signal(unix.SIGTERM)
		}
	}
	for _, pid := range children() {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
}

// kill ends all of it. Where there is no group, children are killed until there is none: those of a killed one become
// children in turn. It says whether the tree is gone.
func (t *tree) kill(wait time.Duration) bool {
	for deadline, nap := time.Now().Add(wait), time.Millisecond; ; nap = min(2*nap, 50*time.Millisecond) {
		t.group.Kill(0)
		for _, pid := range children() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if t.empty() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(nap)
	}
}

// children are those of this process, the dead ones that nobody has waited for included.
func children() (out []int) {
	all, _ := pids()
	self := os.Getpid()
	for _, pid := range all {
		if s, err := readStat(pid); err == nil && s.parent == self {
			out = append(out, pid)
		}
	}
	return out
}
