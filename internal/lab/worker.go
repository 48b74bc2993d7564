package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Worker is an instance as a process of its own, which can be given a part of a processor, frozen and killed. It serves
// one connection after another: it works, sends its id and a newline, and closes.
type Worker struct {
	ns   *Namespace
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Work says what a Worker does.
type Work struct {
	ID      string
	Address netip.AddrPort
	Each    time.Duration  // processor time for each connection, that of taking it included
	Health  netip.AddrPort // where it answers GET with 200 and gRPC health checks with SERVING, on a thread of its own; default: nowhere
	Group   *Cgroup        // where it runs; default: where this process does
}

// workerEnv tells a process that it is to be a worker, and which.
const workerEnv = "WEIR_LAB_WORKER"

// task is what a worker's process is told. Its listeners are its files from 3 on.
type task struct {
	ID     string        `json:"id"`
	Each   time.Duration `json:"each"`
	Health bool          `json:"health"`
	Hog    bool          `json:"hog"`
}

// prepared is set by BecomeWorker: without it, what is started would be the whole program once more.
var prepared atomic.Bool

// BecomeWorker has a process be what StartWorker or StartHog started it for, and does not return then. A program that
// uses those calls it first thing, since what they start is the program itself.
func BecomeWorker() {
	text, ok := os.LookupEnv(workerEnv)
	if !ok {
		prepared.Store(true)
		return
	}
	fmt.Fprintln(os.Stderr, "worker:", beWorker(text))
	os.Exit(1)
}

// StartWorker starts a worker whose sockets are in a namespace. On return they take connections.
func StartWorker(ns *Namespace, w Work) (*Worker, error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close() // the worker has its own: from here on they end with it
		}
	}()
	addresses := []netip.AddrPort{w.Address}
	if w.Health.IsValid() {
		addresses = append(addresses, w.Health)
	}
	for _, a := range addresses {
		f, err := ns.listenFile(a)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return ns.startWorker(task{ID: w.ID, Each: w.Each, Health: w.Health.IsValid()}, w.Group, files)
}

// StartHog starts a process that uses all that its control group has left of the processor.
func StartHog(ns *Namespace, group *Cgroup) (*Worker, error) {
	return ns.startWorker(task{Hog: true}, group, nil)
}

func (ns *Namespace) listenFile(a netip.AddrPort) (*os.File, error) {
	ln, err := ns.Listen("tcp", a.String())
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.(*net.TCPListener).File()
}

func (ns *Namespace) startWorker(t task, group *Cgroup, files []*os.File) (*Worker, error) {
	if !prepared.Load() {
		return nil, errors.New("this program does not begin with lab.BecomeWorker, so it cannot start workers")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	w := &Worker{ns: ns, cmd: ns.Command(self), done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+string(text), "GOMAXPROCS=1")
	w.cmd.Stderr, w.cmd.ExtraFiles = os.Stderr, files
	if err := ns.Start(w.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.done)
		_ = w.cmd.Wait() // how it ended is nobody's concern: it was killed
	}()
	if group != nil {
		if err := group.Add(w.cmd.Process.Pid); err != nil {
			return nil, errors.Join(err, w.Kill())
		}
	}
	return w, nil
}

// Pid of the process.
func (w *Worker) Pid() int { return w.cmd.Process.Pid }

// Freeze stops the process: the kernel still accepts connections for it, and nobody answers.
func (w *Worker) Freeze() error { return Freeze(w.cmd.Process) }

// Thaw lets it go on.
func (w *Worker) Thaw() error { return w.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the process without warning, and returns once it has ended. It may be called more than once.
func (w *Worker) Kill() error {
	err := endProcess(w.cmd.Process)
	<-w.done
	return err
}

// beWorker is the worker's side. It returns only when it cannot go on.
func beWorker(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	if t.Hog {
		for {
			burn(threadTime(), time.Hour)
		}
	}
	if t.Health {
		ln, err := net.FileListener(os.NewFile(4, "health"))
		if err != nil {
			return err
		}
		go serveHealth(ln)
	}
	return t.serve(3)
}

// serveHealth answers both kinds of questions.
func serveHealth(ln net.Listener) {
	s := http.Server{Protocols: &http.Protocols{}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/grpc" {
			fmt.Fprintln(w, "ok")
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, 1}) // a message of two bytes: field 1 is 1, which is SERVING
		w.Header().Set("Grpc-Status", "0")
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	_ = s.Serve(ln)
}

// serve takes one connection after another, on a thread of its own whose processor time it can count.
func (t task) serve(listener int) error {
	runtime.LockOSThread()
	if err := unix.SetNonblock(listener, false); err != nil { // the runtime's listeners are not blocking
		return err
	}
	answer := []byte(t.ID + "\n")
	last := threadTime()
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		burn(last, t.Each)
		last = threadTime()           // what it costs to answer and to take the next one counts for that one
		_, _ = unix.Write(fd, answer) // the peer may be gone
		_ = unix.Close(fd)
	}
}

// burn uses processor time of this thread until it has used so much since a moment.
func burn(begin, d time.Duration) {
	x := uint64(1)
	for threadTime()-begin < d {
		for range 1000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
	}
	runtime.KeepAlive(x)
}

func threadTime() time.Duration {
	var used unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) // fails only without such a clock
	return time.Duration(used.Nano())
}
