package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
)

// EndRemains ends what is left of an instance whose shim is gone: the members of its group, and what carries the name of
// its environment file in its environment, which nothing else does. The caller holds the lock.
func EndRemains(o Order, r Record, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for nap := time.Millisecond; ; nap = min(2*nap, 50*time.Millisecond) {
		left := Remains(o, r)
		if len(left) == 0 {
			return r.Group.Remove()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of instance %s cannot be ended, as %d", len(left), o.Spec.ID, left[0].PID)
		}
		r.Group.Kill(0)
		for _, p := range left {
			_ = p.Signal(unix.SIGKILL) // it may have ended meanwhile
		}
		time.Sleep(nap)
	}
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
