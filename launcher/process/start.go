package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// shimEnvironment keeps a shim small: it is idle nearly always.
var shimEnvironment = []string{"GOMAXPROCS=1", "GOGC=20", "GOMEMLIMIT=12MiB", "PATH=/usr/bin:/bin"}

// start starts a shim and waits until its instance runs, or does not.
func (d *Driver) start(ctx context.Context, i instance) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.config.StartTimeout, fmt.Errorf("it did not start within %s", d.config.StartTimeout))
	defer cancel()
	lock, err := openLock(filepath.Join(i.dir, shim.LockFile))
	if err != nil {
		return fmt.Errorf("start instance %s: %w", i.order.Spec.ID, err)
	}
	defer lock.Close()
	answer, process, err := d.fork(i.dir, lock)
	if err != nil {
		return fmt.Errorf("start the shim of instance %s: %w", i.order.Spec.ID, err)
	}
	defer answer.Close()
	said, err := read(ctx, answer)
	if said == shim.Started {
		return nil
	}
	if err == nil {
		err = errors.New(plain.Line(said, 1000))
		if said == "" {
			err = fmt.Errorf("its shim ended: see %s", filepath.Join(i.dir, shimLog))
		}
	}
	// Whatever it was doing: from here on nothing of it runs.
	_ = process.Signal(unix.SIGKILL) // it may have ended
	lock.Close()
	if rerr := endStart(i, process); rerr != nil {
		err = fmt.Errorf("%w; %w: %w", err, errLeft, rerr)
	}
	return fmt.Errorf("start instance %s: %w", i.order.Spec.ID, err)
}

var errLeft = errors.New("something of it may be left")

// endStart ends what a shim leaves that was killed while it started an instance.
func endStart(i instance, process shim.Process) error {
	for late := time.Now().Add(remainsTime); process.Alive(); {
		if time.Now().After(late) {
			return fmt.Errorf("its shim, process %d, cannot be ended", process.PID)
		}
		if err := await(context.Background(), process, 100*time.Millisecond); err != nil {
			return err
		}
	}
	r, err := shim.ReadRecord(i.dir)
	if err != nil && !shim.IsNoRecord(err) {
		return err
	}
	if err != nil || r.State == launcher.Exited { // it did not come so far as to fork
		shim.SweepGroup(i.order)
		return nil
	}
	lock, err := openLock(filepath.Join(i.dir, shim.LockFile)) // what it forked has yet to run its program until then
	if err != nil {
		return err
	}
	defer lock.Close()
	return shim.EndRemains(i.order, r, remainsTime)
}

const shimLog = "shim.log"

// fork starts a shim in a session of its own, with the lock and a pipe for its answer.
func (d *Driver) fork(dir string, lock *os.File) (*os.File, shim.Process, error) {
	var p shim.Process
	answer, theirs, err := os.Pipe()
	if err != nil {
		return nil, p, err
	}
	defer theirs.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, p, errors.Join(err, answer.Close())
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(dir, shimLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, p, errors.Join(err, answer.Close())
	}
	defer log.Close()
	command := append(append([]string(nil), d.config.Shim...), dir)
	started, err := os.StartProcess(command[0], command, &os.ProcAttr{
		Dir: "/", Env: shimEnvironment, Files: []*os.File{null, log, log, lock, theirs}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, p, errors.Join(err, answer.Close())
	}
	d.mu.Lock()
	d.shims[started.Pid] = true
	d.mu.Unlock()
	p, err = shim.Find(started.Pid) // nobody has waited for it: it is there, dead or alive
	_ = started.Release()
	return answer, p, err
}

// read takes all that a shim answers, until it closes the pipe or ctx ends.
func read(ctx context.Context, from *os.File) (string, error) {
	stop := context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(from, 4096))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return string(text), err
}
