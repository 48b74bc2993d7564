package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Command returns a command that is to be started with Start, Run or Output of the same namespace.
func (ns *Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command(name, args...)
}

// Start starts cmd inside the namespace. As with cmd.Start, the caller owes cmd.Wait; Close kills what still runs.
//
// There is no parent-death signal on purpose: it fires when the thread that forked ends, and Go ends threads at will.
func (ns *Namespace) Start(cmd *exec.Cmd) error {
	// Under the lock, so that Close either sees the process or has it refused.
	ns.lab.mu.Lock()
	defer ns.lab.mu.Unlock()
	if ns.lab.closed {
		return errClosed
	}
	if err := ns.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s in %s: %w", cmd.Path, ns.name, err)
	}
	ns.lab.processes = append(ns.lab.processes, cmd.Process)
	return nil
}

// Run runs cmd inside the namespace and waits for its end.
func (ns *Namespace) Run(cmd *exec.Cmd) error {
	if err := ns.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs a command inside the namespace and returns what it wrote to both outputs.
func (ns *Namespace) Output(name string, args ...string) ([]byte, error) {
	cmd := ns.Command(name, args...)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := ns.Run(cmd); err != nil {
		return out.Bytes(), fmt.Errorf("%s %v in %s: %w: %s", name, args, ns.name, err, out.Bytes())
	}
	return out.Bytes(), nil
}

// Kill ends every process in the namespace without warning, as a machine does that loses its power: also those that they
// started, however they were detached. None of them runs when it returns. The caller owes cmd.Wait as before.
func (ns *Namespace) Kill() error { return killInside(ns.Path()) }

// Freeze stops a process that this one started, and returns once all its threads stand still: the signal alone may come to one
// that has served somebody meanwhile.
func Freeze(p *os.Process) error {
	if err := p.Signal(unix.SIGSTOP); err != nil {
		return fmt.Errorf("stop %d: %w", p.Pid, err)
	}
	return awaitState(p, unix.WSTOPPED|unix.WEXITED)
}

// endProcess kills a process and returns once it is dead. It leaves the exit status to the caller's cmd.Wait, which may
// be under way in another goroutine.
func endProcess(p *os.Process) error {
	err := p.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill %d: %w", p.Pid, err)
	}
	return awaitState(p, unix.WEXITED)
}

// awaitState waits until a process has ended or, by the options, stands still. That is left for others to see, too.
func awaitState(p *os.Process, options int) error {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, options|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, unix.ECHILD): // ECHILD: the caller's Wait was faster
			return fmt.Errorf("wait for %d: %w", p.Pid, err)
		}
		return nil
	}
}
