package ipt

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"

	"github.com/weir-lb/weir/rules"
)

// DefaultLimit is how long one program may take. Restoring 10,000 services of 5 takes some seconds.
const DefaultLimit = 20 * time.Second

// lockWait is how many seconds a program waits for the lock that iptables programs share.
const lockWait = 5

// run starts a program in the driver's namespace, feeds it, and returns what it prints. It is killed, with all that it
// started, when the context ends or the limit is over.
func (d *Driver) run(ctx context.Context, stdin string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.limit, fmt.Errorf("it does not end within %s, so it was killed: see what holds it up", d.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := d.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("run %s: %w", command[0], context.Cause(ctx))
	case err != nil:
		return "", &failure{command: command[0], text: strings.TrimSpace(errs.String()), err: err}
	}
	return out.String(), nil
}

// start begins a program. Whoever asks whose a notice is waits until its process is known as ours.
func (d *Driver) start(cmd *exec.Cmd) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.inside(cmd.Start); err != nil {
		return err
	}
	d.own(cmd.Process.Pid)
	return nil
}

// inside calls fn on a thread in the driver's namespace. A thread whose namespace was changed ends with its goroutine.
func (d *Driver) inside(fn func() error) error {
	if d.netns == 0 {
		return fn()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(netns.NsHandle(d.netns))
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// failure is what a program said when it failed, turned into the questions that callers ask.
type failure struct {
	command string
	text    string
	line    string // the line of the payload that it failed at, as far as it says
	partial bool   // some of what was to be written has been
	err     error
}

func (f *failure) Error() string {
	why := f.text
	if why == "" {
		why = f.err.Error()
	}
	why = strings.Join(strings.Fields(strings.ReplaceAll(why, "\n", " ")), " ")
	if f.line != "" {
		why += fmt.Sprintf(" (%s)", f.line)
	}
	return fmt.Sprintf("run %s: %s%s", f.command, why, f.advice())
}

func (f *failure) advice() string {
	switch {
	case f.says("Permission denied", "you must be root"):
		return ": run as root or give the process CAP_NET_ADMIN (iptables-legacy wants CAP_NET_RAW too)"
	case f.says("xtables lock"):
		return ": see which program holds the lock (fuser /run/xtables.lock)"
	case f.says("is incompatible, use 'nft' tool"):
		return ": another program wrote rules into that table that iptables cannot read: use --driver nft, or move those rules to a table of their own"
	}
	return ""
}

func (f *failure) Unwrap() error { return f.err }

// Is sorts failures. What names a rule or chain of ours that is not there speaks of a shadow; what is left, the kernel or
// the program does not take.
func (f *failure) Is(target error) bool {
	return target == f.kind()
}

func (f *failure) kind() error {
	switch {
	case f.says("Permission denied", "you must be root"):
		return rules.ErrPermission
	case f.partial:
		return rules.ErrShadow
	case f.line == "", f.says("xtables lock"):
		return nil
	case strings.HasPrefix(f.line, "-D "), strings.HasPrefix(f.line, "-I "), strings.HasPrefix(f.line, "-X "),
		f.says("Resource temporarily unavailable", "Chain '"+ours, "goto '"+ours, "target `"+ours, "CHAIN_DEL failed"):
		return rules.ErrShadow
	}
	return rules.ErrRejected
}

func (f *failure) says(texts ...string) bool {
	for _, text := range texts {
		if strings.Contains(f.text, text) {
			return true
		}
	}
	return false
}

var failedLine = regexp.MustCompile(`line:? (\d+)`)

// locate finds the line of the payload that a restore failed at. Whole tables before it have passed.
func (f *failure) locate(payload string) {
	m := failedLine.FindStringSubmatch(f.text)
	if m == nil {
		return
	}
	n, _ := strconv.Atoi(m[1])
	if lines := strings.Split(payload, "\n"); n >= 1 && n <= len(lines) {
		f.line = lines[n-1]
		f.partial = slices.Contains(lines[:n-1], "COMMIT")
	}
}
