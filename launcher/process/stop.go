package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// Stop ends the program and all that it started.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := launcher.RefuseID(id); err != nil {
		return err
	}
	done, err := d.turns.Take(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	defer d.reap()
	i, err := d.look(id)
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop instance %s: %w", id, err)
	}
	if i.alive {
		if err := d.end(ctx, i, grace); err != nil {
			return fmt.Errorf("stop instance %s: %w", id, err)
		}
		if i, err = d.look(id); err != nil {
			return fmt.Errorf("stop instance %s: %w", id, err)
		}
	}
	if i.record.State != launcher.Exited {
		if err := shim.EndRemains(i.order, i.record, remainsTime); err != nil {
			return fmt.Errorf("stop instance %s: %w", id, err)
		}
	}
	shim.SweepGroup(i.order)
	d.ports.free(id)
	return errors.Join(remove(i.order.EnvFile), d.bury(i))
}

// end tells the shim to end its instance, and waits until it is done. A shim that does not come to an end is killed; the
// caller ends what it leaves.
func (d *Driver) end(ctx context.Context, i instance, grace time.Duration) error {
	if err := shim.WriteGrace(i.dir, grace); err != nil {
		return err
	}
	var told shim.Process
	for late := time.Now().Add(grace + d.patience); i.alive; {
		signal := unix.SIGTERM
		if time.Now().After(late) {
			signal, told = unix.SIGKILL, shim.Process{}
		}
		// A shim that is just starting has not written down who it is: then the record is still an earlier one's.
		if told != i.record.Shim {
			if err := i.record.Shim.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			told = i.record.Shim
		}
		if err := await(ctx, i.record.Shim, 100*time.Millisecond); err != nil {
			return err
		}
		var err error
		if i, err = d.look(i.order.Spec.ID); err != nil {
			return err
		}
	}
	return nil
}

// await waits a while for the end of a process.
func await(ctx context.Context, p shim.Process, most time.Duration) error {
	fd, err := p.Open()
	if errors.Is(err, os.ErrProcessDone) {
		time.Sleep(time.Millisecond) // its lock goes with it
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(most.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return ctx.Err()
}

const stopped = ".stopped"

// bury forgets an instance, and keeps its output beside that of the last few.
func (d *Driver) bury(i instance) error {
	if d.config.KeepStopped < 0 {
		return discard(i.dir, filepath.Join(d.config.Dir, begun(i.order.Spec.ID)))
	}
	yard := filepath.Join(d.config.Dir, stopped)
	grave := filepath.Join(yard, i.order.Spec.ID)
	if err := makeDir(yard, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(grave); err != nil {
		return err
	}
	if err := os.Rename(i.dir, grave); err != nil {
		return err
	}
	return errors.Join(shim.Strip(grave), d.prune(yard))
}

// prune removes what was stopped longest ago.
func (d *Driver) prune(yard string) error {
	entries, err := os.ReadDir(yard)
	if err != nil || len(entries) <= d.config.KeepStopped {
		return err
	}
	age := map[string]time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			age[e.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return age[b.Name()].Compare(age[a.Name()]) })
	var errs []error
	for _, e := range entries[d.config.KeepStopped:] {
		errs = append(errs, os.RemoveAll(filepath.Join(yard, e.Name())))
	}
	return errors.Join(errs...)
}
