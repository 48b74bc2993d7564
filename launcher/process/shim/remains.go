package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// EndRemains ends what is left of an instance whose shim is gone: the members of its group, and what carries the name of
// its environment file in its environment, which nothing else does. The caller holds the lock, or has seen it free: who is
// forked by a shim holds it until it runs its program.
func EndRemains(o Order, r Record, wait time.Duration) error {
	begin := time.Now()
	for nap := time.Millisecond; ; nap = min(2*nap, 50*time.Millisecond) {
		unsure := time.Since(begin) < min(wait, execTime) && executing(r) // before the look: what is told by then is seen by it
		left := Remains(o, r)
		if len(left) == 0 && !unsure {
			return r.Group.Remove()
		}
		if len(left) > 0 && time.Since(begin) > wait {
			return fmt.Errorf("%d processes of instance %s cannot be ended, as %d", len(left), o.Spec.ID, left[0].PID)
		}
		r.Group.Kill(0)
		for _, p := range left {
			_ = p.Signal(unix.SIGKILL) // it may have ended meanwhile
		}
		time.Sleep(nap)
	}
}

// SweepGroup removes the group of an instance of which nothing is left. A shim that is killed between making it and the first
// record leaves it, and no record names it. The caller keeps others from starting the instance meanwhile.
func SweepGroup(o Order) {
	if o.Parent == "" {
		return
	}
	if mounts, err := cgroup.Find(); err == nil { // else nobody made any
		mounts.Sweep(o.Parent, o.Spec.ID)
	}
}

// execTime is how long a program may take from the end of its shim's lock to its environment. Somebody else's process that was
// given no environment is waited for so long.
const execTime = time.Second

// executing says whether a process may be about to run the program of a shim that was killed while it started it: where there is
// no group, it cannot be told from others before its environment is there.
func executing(r Record) bool {
	if r.State != Starting || r.Boot != BootID() {
		return false
	}
	all, _ := pids()
	for _, pid := range all {
		s, err := readStat(pid)
		if err != nil || s.session != pid || s.start < r.Shim.Start || s.state == 'Z' || s.state == 'X' {
			continue
		}
		if environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); err == nil && len(environ) == 0 {
			return true
		}
	}
	return false
}

// Remains are the processes of an instance that can be found without its shim.
func Remains(o Order, r Record) (out []Process) {
	if r.Boot != BootID() {
		return nil // the machine was started anew since: nothing is left of anything
	}
	seen := map[int]bool{}
	for _, pid := range r.Group.Members() {
		if p, err := Find(pid); err == nil {
			out, seen[pid] = append(out, p), true
		}
	}
	all, _ := pids() // without /proc the group alone is known
	mark := []byte("\x00" + launcher.FileVariable + "=" + o.EnvFile + "\x00")
	for _, pid := range all {
		if seen[pid] {
			continue
		}
		p, err := Find(pid)
		if err == nil && p.Start >= r.Instance.Start && marked(pid, mark) && p.Alive() {
			out = append(out, p)
		}
	}
	return out
}

// marked says whether a process was started with a variable in its environment.
func marked(pid int, mark []byte) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, environ...), mark)
}
