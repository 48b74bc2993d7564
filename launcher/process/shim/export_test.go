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

// RunMaking is Run of a shim that is killed when it has made the group of its instance, before its first record; after others, if any.
func RunMaking(dir string, others ...int) error {
	o, err := ReadOrder(dir)
	if err != nil {
		return err
	}
	if o.Parent != "" {
		mounts, err := cgroup.Find()
		if err != nil {
			return err
		}
		mounts.Make(o.Parent, o.Spec.ID, cgroup.Limits{})
	}
	for _, pid := range append(others, os.Getpid()) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return err
		}
	}
	select {}
}
