package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/internal/turns"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// Driver runs programs of this host.
type Driver struct {
	config   Config
	lock     *os.File      // of the whole directory
	turns    *turns.Turns  // one caller at a time for each instance
	ports    claims        // which instance has which port
	patience time.Duration // with a shim, beyond the grace of its instance

	mu    sync.Mutex
	shims map[int]bool // children of this process that nobody has waited for
}

var _ launcher.Driver = (*Driver)(nil)

// Open opens a driver over the directory, with all instances that are there. ErrOwned: another launcher has it;
// ErrUnsafe: others may change it.
func Open(config Config) (*Driver, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("open the launcher's directory: %w", err)
	}
	if err := makeDir(config.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := makeDir(config.EnvDir, 0o711); err != nil {
		return nil, err
	}
	lock, err := openLock(filepath.Join(config.Dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s: %w: end it first, or choose another directory", config.Dir, launcher.ErrOwned)
	}
	if err != nil {
		return nil, err
	}
	d := &Driver{config: config, lock: lock, turns: turns.New(), ports: claims{of: map[port]string{}}, shims: map[int]bool{}, patience: 15 * time.Second}
	if err := d.find(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// Close lets another launcher have the directory. It touches no instance.
func (d *Driver) Close() error {
	d.reap()
	err := unix.FcntlFlock(d.lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	return errors.Join(err, d.lock.Close())
}

// find removes what an earlier launcher was making when it ended, and learns who has which ports.
func (d *Driver) find() error {
	entries, err := os.ReadDir(d.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if dir := filepath.Join(d.config.Dir, e.Name()); unfinished(e.Name()) { // no shim of it is left, or was started
			if o, err := shim.ReadOrder(dir); err == nil {
				shim.SweepGroup(o)
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		if i, err := d.look(e.Name()); err == nil { // else List tells
			d.ports.claim(i.order.Spec)
		}
	}
	return nil
}

// reap waits for the shims of this process that have ended. Nothing depends on it but the table of processes, so there is no
// goroutine for it: it is done by the way.
func (d *Driver) reap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pid := range d.shims {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || errors.Is(err, unix.ECHILD) {
			delete(d.shims, pid)
		}
	}
}
