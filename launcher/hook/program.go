package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

const (
	keptErrors = 2 << 10     // bytes of what a program complains
	afterKill  = time.Second // for what a killed program left to let its output go
)

// program is a hook that is run for each call.
type program struct {
	command []string
	env     []string
}

var errTooLong = errors.New("its answer is too long")

func (p program) call(ctx context.Context, what, _ string, body []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.command[0], append(append([]string(nil), p.command[1:]...), what)...)
	var out, complaint limited
	out.most, complaint.most = maxAnswer, keptErrors
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, p.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	cmd.WaitDelay = afterKill
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil // it has ended well, and left something that holds its output open
	}
	if err != nil {
		said := plain.Words(string(complaint.text), keptErrors)
		return nil, fmt.Errorf("%s: %w: %s", p.command[0], err, said)
	}
	if out.over {
		return nil, fmt.Errorf("%w: %w: more than %d bytes", launcher.ErrUntrue, errTooLong, maxAnswer)
	}
	return out.text, nil
}

// limited keeps the first bytes and forgets the rest.
type limited struct {
	text []byte // a bytes.Buffer would read its source past the limit by itself
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - len(l.text)
	l.text = append(l.text, p[:min(room, len(p))]...)
	l.over = l.over || len(p) > room
	return len(p), nil
}
