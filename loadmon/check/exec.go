package check

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// maxExec bounds how many programs run at a time.
const maxExec = 16

// probeExec runs a program, and is well when it ends with 0. It gets an environment of five variables, no input, and a
// process group of its own, which is killed at the timeout and also when the program has ended: nothing that it started
// stays behind, unless it left the group.
func probeExec(ctx context.Context, t task) Outcome {
	command := t.check.Exec.Command
	var out head
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr = "/", &out, &out
	c.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		"WEIR_SERVICE=" + t.id.Service, "WEIR_INSTANCE=" + t.id.Instance, "WEIR_ADDRESS=" + t.where,
	}
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	c.WaitDelay = 100 * time.Millisecond // for the output, where something that left the group still holds it
	if err := c.Start(); err != nil {
		return Outcome{Kind: Unknown, Reason: line(fmt.Sprintf("the program cannot be started: %v", err))}
	}
	late := awaitGroup(ctx, c.Process.Pid)
	err := c.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && late:
		o := failed(ctx, context.DeadlineExceeded, time.Duration(t.check.Timeout))
		o.Output = out.line()
		return o
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return Outcome{Kind: Good, Output: out.line()}
	case errors.As(err, &exit):
		return Outcome{Kind: Bad, Reason: exit.Error(), Output: out.line()}
	}
	return Outcome{Kind: Unknown, Reason: line(fmt.Sprintf("wait for the program: %v", err))}
}

// awaitGroup waits for the end of a group's leader, kills the group and says whether the context ended first. The leader is
// not reaped before, so that its number cannot have become another's.
func awaitGroup(ctx context.Context, leader int) (late bool) {
	kill := func() { _ = unix.Kill(-leader, unix.SIGKILL) }
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { kill(); close(killed) })
	for {
		err := unix.Waitid(unix.P_PID, leader, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if !stop() {
		<-killed
		late = true
	}
	kill()
	return late
}

// head keeps the beginning of what is written, and swallows the rest.
type head struct{ text []byte }

func (h *head) Write(p []byte) (int, error) {
	if missing := 4*cluster.MaxOutput + 1 - len(h.text); missing > 0 {
		h.text = append(h.text, p[:min(len(p), missing)]...)
	}
	return len(p), nil
}

func (h *head) line() string { return line(string(h.text)) }
