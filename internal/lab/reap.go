package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// fullName is prefix, owner's pid, number, namespace. A lab's name holds no dash, so there is one way to read it.
var fullName = regexp.MustCompile(`^(weir-[a-z0-9]+-([0-9]+)-[0-9]+)-[a-z0-9][a-z0-9-]*$`)

// reap removes the namespaces and control groups whose owner is dead.
func reap() error {
	errs := []error{leftovers(runDir, demolish)}
	all, err := findHierarchies()
	for _, h := range all {
		errs = append(errs, leftovers(h.mount, func(name string) error { return removeCgroup(filepath.Join(h.mount, name)) }))
	}
	return errors.Join(append(errs, err)...)
}

// leftovers removes from a directory what carries the name of a lab whose owner is dead.
func leftovers(dir string, remove func(name string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if m := fullName.FindStringSubmatch(e.Name()); m != nil && !ownerAlive(m[1], m[2]) {
			errs = append(errs, remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}

func ownerAlive(prefix, pidText string) bool {
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		return true // not a pid, so not a name of ours
	}
	if pid == os.Getpid() {
		live.Lock()
		defer live.Unlock()
		return live.prefixes[prefix]
	}
	return !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// demolish kills what runs in a namespace, deletes its links and removes its name.
func demolish(name string) error {
	path := filepath.Join(runDir, name)
	return errors.Join(killInside(path), deleteLinks(path), unmountName(name))
}

// deleteLinks is done by hand because a namespace that some socket still holds would keep its links, and the other
// end of each pair with them.
func deleteLinks(path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return ignoreGone(err)
	}
	defer ns.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(ns), &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return err // a plain file: the name outlived its namespace
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return wrap("netlink", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return wrap("list links", err)
	}
	var errs []error
	for _, link := range links {
		// lo and the fallback devices (tunl0, ...) belong to the namespace; tunnels go with the cable below them.
		if t := link.Type(); t != "veth" && t != "bridge" {
			continue
		}
		if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, wrap("delete "+link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

// killInside kills every process whose main thread is in the namespace: what was started there and its children,
// however they were detached. It returns when there is none left: one that was just forking has a child by then, and one
// that dies may still write. This process is spared: one of its threads may be inside right now.
func killInside(path string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		left, err := killOnce(path)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes in %s do not end although they were killed", left, path)
		}
	}
}

// killOnce says how many it found. Those that are dead, and only not waited for, are in no namespace any more.
func killOnce(path string) (found int, err error) {
	var want, got unix.Stat_t
	if err := unix.Stat(path, &want); err != nil {
		return 0, ignoreGone(err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return 0, err
	}
	for _, link := range procs {
		if unix.Stat(link, &got) != nil || got.Dev != want.Dev || got.Ino != want.Ino {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
			found++
		}
	}
	return found, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
