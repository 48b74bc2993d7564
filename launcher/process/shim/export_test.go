package shim

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// RunKilled is Run of a shim that is killed as soon as it has forked its instance, before it can say so; after others, if any.
func RunKilled(dir string, others ...int) error {
	return run(dir, func(o Order, g cgroup.Group, complain func(error)) (child, error) {
		if _, err := start(o, g, complain); err != nil {
			return child{}, err
		}
		for _, pid := range append(others, os.Getpid()) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				return child{}, err
			}
		}
		select {}
	})
}
