package integration

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// Daemon is a process of the program that runs until it is told to end: an agent, or a control center.
type Daemon struct {
	Name    string
	Host    *lab.Host
	Args    []string // of the next start
	Program string   // of the next start; "": the World's
	Env     []string // of the next start, beside that of this process

	w     *World
	what  string // agent or control center
	pages string // where it shows them
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
	log   output
}

func (w *World) daemon(what, name string, host *lab.Host, pages string) *Daemon {
	return &Daemon{Name: name, Host: host, w: w, what: what, pages: pages}
}

// Start starts the process. It does not wait for anything.
func (d *Daemon) Start() {
	d.w.t.Helper()
	d.log.reset()
	d.cmd = exec.Command(cmp.Or(d.Program, d.w.o.Program), d.Args...)
	d.cmd.Env = append(os.Environ(), d.Env...)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	require.NoError(d.w.t, d.Host.Start(d.cmd))
	cmd, done := d.cmd, make(chan struct{})
	d.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
}

// Signal sends the process a signal that does not end it. One that is to stop stands still on return.
func (d *Daemon) Signal(signal syscall.Signal) {
	d.w.t.Helper()
	if signal == syscall.SIGSTOP {
		require.NoError(d.w.t, lab.Freeze(d.cmd.Process))
		return
	}
	require.NoError(d.w.t, d.cmd.Process.Signal(signal))
}

// Kill ends the process without warning.
func (d *Daemon) Kill() { d.end(syscall.SIGKILL) }

// Stop asks the process to end.
func (d *Daemon) Stop() { d.end(syscall.SIGTERM) }

func (d *Daemon) end(signal syscall.Signal) {
	d.w.t.Helper()
	require.NoError(d.w.t, d.cmd.Process.Signal(signal))
	d.AwaitEnd()
}

// AwaitEnd waits until the process has ended and returns its exit code; -1 after a signal.
func (d *Daemon) AwaitEnd() int {
	d.w.t.Helper()
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		require.FailNow(d.w.t, "the "+d.what+" does not end", d.Log())
	}
	return d.cmd.ProcessState.ExitCode()
}

// Ended says whether the process has ended.
func (d *Daemon) Ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// Pid of the running process.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Log is all that the process wrote since its start.
func (d *Daemon) Log() string { return d.log.String() }

// AwaitLog waits until the log holds a text.
func (d *Daemon) AwaitLog(text string, within time.Duration) {
	d.w.t.Helper()
	d.w.Eventually(within, d.what+" "+d.Name+" logs "+text, func() bool { return strings.Contains(d.Log(), text) })
}

// Get asks a page of the process. Code 0 means that nobody answers.
func (d *Daemon) Get(path string) (code int, body string) {
	r, err := insideClient(d.Host.Namespace, 5*time.Second).Get("http://" + d.pages + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(text)
}

// insideClient asks pages that only listen inside a namespace.
func insideClient(ns *lab.Namespace, timeout time.Duration) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return ns.Dial(ctx, network, address)
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// AwaitReady waits until the process says that it is ready.
func (d *Daemon) AwaitReady(within time.Duration) {
	d.w.t.Helper()
	d.w.Eventually(within, d.what+" "+d.Name+" is ready", func() bool {
		code, _ := d.Get("/readyz")
		return code == http.StatusOK
	})
}

// Metric reads one metric; of one with labels, the sum.
func (d *Daemon) Metric(name string) float64 {
	d.w.t.Helper()
	code, body := d.Get("/metrics")
	require.Equal(d.w.t, http.StatusOK, code, body)
	sum, found := 0.0, false
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(key, "{"); bare == name {
			v, err := strconv.ParseFloat(value[strings.LastIndexByte(value, ' ')+1:], 64) // the value of a label may hold a space
			require.NoError(d.w.t, err)
			sum, found = sum+v, true
		}
	}
	require.True(d.w.t, found, "no metric %s in %s", name, body)
	return sum
}

// CPU is the processor time that the process has used so far.
func (d *Daemon) CPU() time.Duration {
	d.w.t.Helper()
	used, err := processCPU(d.Pid())
	require.NoError(d.w.t, err)
	return used
}

// processCPU asks a process's own clock: /proc counts whole ticks, and an idle agent ends its work between two.
func processCPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: the clock of all threads of a process is made of its pid and this
	var used unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduled), &used)
	return time.Duration(used.Nano()), err
}

// finish ends the process if it still runs, and fails the test if the race detector had something to say.
func (d *Daemon) finish() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	if strings.Contains(d.Log(), "DATA RACE") {
		d.w.t.Errorf("%s %s: %s", d.what, d.Name, d.Log())
	}
	if failed, ok := d.w.t.(interface{ Failed() bool }); ok && failed.Failed() {
		d.w.t.Logf("%s %s said:\n%s", d.what, d.Name, d.Log())
	}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
}
