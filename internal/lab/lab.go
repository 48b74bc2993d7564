package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
)

// nameForm keeps lab names free of dashes, so that the owner's pid can be found in a namespace's name without guessing.
var nameForm = regexp.MustCompile(`^[a-z0-9]{1,24}$`)

// live holds the prefixes of this process's labs. The pid in a name says only that some process is alive; with a pid
// used again (containers do so at every start) this set tells our own labs from an ancestor's leftovers.
var live = struct {
	sync.Mutex
	count    int
	prefixes map[string]bool
}{prefixes: map[string]bool{}}

// Lab is a set of network namespaces, their links and the processes in them.
type Lab struct {
	prefix string

	mu         sync.Mutex
	closed     bool
	namespaces []*Namespace
	processes  []*os.Process
	cgroups    []*Cgroup
	closers    []io.Closer
}

// CheckRoot says why New would refuse this user, for a program that has something to say before it makes a lab.
func CheckRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces can only be made by root: run as root or with sudo")
	}
	return nil
}

// New returns an empty lab, after removing what labs of dead processes left behind. The name is 1 to 24 of a-z and 0-9;
// pid and a number are added, so equal names do not collide.
func New(name string) (*Lab, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("lab name %q: want 1 to 24 of a-z and 0-9", name)
	}
	if err := CheckRoot(); err != nil {
		return nil, err
	}
	if err := prepareRunDir(); err != nil {
		return nil, err
	}
	// A leftover that cannot be removed is no reason to refuse: names do not collide, and the next New tries again.
	_ = reap()
	return &Lab{prefix: claimPrefix(name)}, nil
}

func claimPrefix(name string) string {
	live.Lock()
	defer live.Unlock()
	live.count++
	prefix := fmt.Sprintf("weir-%s-%d-%d", name, os.Getpid(), live.count)
	live.prefixes[prefix] = true
	return prefix
}

func releasePrefix(prefix string) {
	live.Lock()
	defer live.Unlock()
	delete(live.prefixes, prefix)
}

// Prefix returns what the names of all the lab's namespaces begin with.
func (l *Lab) Prefix() string { return l.prefix }

// Close stops what was started in the lab, kills every process in its namespaces and control groups and removes those,
// and all links. It may be called more than once.
//
// Sockets that the caller opened and still holds keep working, alone in a namespace without links or name.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	// From here on nothing is added: track and Namespace refuse on a closed lab.

	var errs []error
	for i := len(l.closers) - 1; i >= 0; i-- {
		errs = append(errs, l.closers[i].Close())
	}
	for _, p := range l.processes {
		errs = append(errs, endProcess(p))
	}
	for _, ns := range l.namespaces {
		errs = append(errs, ns.remove())
	}
	for _, c := range l.cgroups {
		errs = append(errs, c.remove())
	}
	releasePrefix(l.prefix)
	return errors.Join(errs...)
}

// track has c closed with the lab. On a lab already closed it closes c at once and says so.
func (l *Lab) track(c io.Closer) error {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.closers = append(l.closers, c)
	}
	l.mu.Unlock()
	if closed {
		return errors.Join(errClosed, c.Close()) // without the lock: c tells us that it ended
	}
	return nil
}

// forget is the opposite of track, for what ended before the lab: a test that starts a thousand streams keeps none.
func (l *Lab) forget(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return // Close walks the list right now
	}
	for i, have := range l.closers {
		if have == c {
			l.closers = append(l.closers[:i], l.closers[i+1:]...)
			return
		}
	}
}

var errClosed = errors.New("lab is closed")
