package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// child is a started instance.
type child struct {
	Process
	stdout, stderr *os.File // to read from
}

// start starts the instance of an order inside a group.
func start(o Order, g cgroup.Group, complain func(error)) (child, error) {
	if err := writeEnvFile(o); err != nil {
		return child{}, fmt.Errorf("write the environment: %w", err)
	}
	stdoutR, stdoutW, err := os.Pipe()
	if err != nil {
		return child{}, err
	}
	defer stdoutW.Close()
	stderrR, stderrW, err := os.Pipe()
	if err != nil {
		return child{}, errors.Join(err, stdoutR.Close())
	}
	defer stderrW.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return child{}, errors.Join(err, stdoutR.Close(), stderrR.Close())
	}
	defer null.Close()
	p, err := fork(o, g, []*os.File{null, stdoutW, stderrW}, complain)
	if err != nil {
		return child{}, errors.Join(err, stdoutR.Close(), stderrR.Close())
	}
	return child{p, stdoutR, stderrR}, nil
}

// fork starts the program on a thread of its own, which ends afterwards: it enters the groups of version 1 and gives up
// new privileges, and neither can be undone.
func fork(o Order, g cgroup.Group, files []*os.File, complain func(error)) (p Process, err error) {
	onThread(func() {
		if e := g.Enter(); e != nil {
			complain(fmt.Errorf("the limits do not hold: %w", e))
		}
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			err = fmt.Errorf("give up new privileges: %w", err)
			return
		}
		p, err = forkHere(o, g, files)
	})
	return p, err
}

// onThread calls do on a thread that ends with it. The first thread of a process would not end.
func onThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if unix.Gettid() != unix.Getpid() {
			do()
			return
		}
		onThread(do) // this one is taken
		runtime.UnlockOSThread()
	}()
	<-done
}

func forkHere(o Order, g cgroup.Group, files []*os.File) (Process, error) {
	group, err := g.Open()
	if err != nil {
		return Process{}, err
	}
	attributes := &syscall.SysProcAttr{Setsid: true}
	if group != nil {
		defer group.Close()
		attributes.UseCgroupFD, attributes.CgroupFD = true, int(group.Fd())
	}
	if o.Switch {
		attributes.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID} // with no other groups
	}
	started, err := os.StartProcess(o.Program, o.Spec.Command, &os.ProcAttr{
		Dir: o.WorkDir, Env: environment(o), Files: files, Sys: attributes,
	})
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return Process{}, fmt.Errorf("run %s in %s as user %d: %w", plain.Line(o.Program, 200), plain.Line(o.WorkDir, 200), o.UID, err)
	}
	pid := started.Pid
	_ = started.Release() // this shim waits for all its children itself
	// The shim is spared by the kernel when memory runs out; the instance is not.
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
	p, err := Find(pid)
	if err != nil {
		return Process{PID: pid}, nil // it cannot be: nobody has waited for it yet
	}
	return p, nil
}

func environment(o Order) []string {
	all := o.Spec.Environment()
	for _, variable := range o.Login {
		if name, _, _ := strings.Cut(variable, "="); o.Spec.Env[name] == "" {
			all = append(all, variable)
		}
	}
	all = append(all, o.Given...)
	return append(all, launcher.FileVariable+"="+o.EnvFile)
}

// writeEnvFile is readable by the instance's user alone.
func writeEnvFile(o Order) error {
	if err := os.Remove(o.EnvFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(o.EnvFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o400)
	if err != nil {
		return err
	}
	if o.Switch {
		err = f.Chown(int(o.UID), int(o.GID))
	}
	if err == nil {
		_, err = io.WriteString(f, launcher.EnvironmentFile(environment(o)))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(o.EnvFile))
	}
	return nil
}

// EnvFileOf is where the environment of an instance is written, below a directory that all may pass through.
func EnvFileOf(dir, id string) string { return filepath.Join(dir, id+".env") }
