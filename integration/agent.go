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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// Agent is the agent of one node, as a process.
type Agent struct {
	Name     string
	Host     *lab.Host
	StateDir string
	Args     []string // of the next start
	Program  string   // of the next start; "": the World's
	Env      []string // of the next start, beside that of this process

	w    *World
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  output
}

// NewAgent prepares an agent; Start starts it.
func (w *World) NewAgent(name string, host *lab.Host) *Agent {
	a := &Agent{Name: name, Host: host, StateDir: filepath.Join(w.Dir, name), w: w}
	require.NoError(w.t, os.MkdirAll(a.StateDir, 0o700))
	a.Args = append([]string{"agent", "--node", name, "--etcd", w.Endpoint(), "--state-dir", a.StateDir, "--table-owner", w.o.Owner}, w.o.AgentArgs...)
	a.UseDriver(w.o.Driver)
	return a
}

// UseDriver has the next start work with a driver, in the words of Options.Driver.
func (a *Agent) UseDriver(driver string) {
	if driver == "" {
		return
	}
	name, iptables, _ := strings.Cut(driver, "-")
	a.Args = append(a.Args, "--driver", name, "--iptables", cmp.Or(iptables, "auto")) // the last of a flag counts
}

// Start starts the process. It does not wait for anything.
func (a *Agent) Start() {
	a.w.t.Helper()
	a.log.reset()
	a.cmd = exec.Command(cmp.Or(a.Program, a.w.o.Program), a.Args...)
	a.cmd.Env = append(os.Environ(), a.Env...)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	require.NoError(a.w.t, a.Host.Start(a.cmd))
	cmd, done := a.cmd, make(chan struct{})
	a.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
}

// Signal sends the process a signal that does not end it.
func (a *Agent) Signal(signal syscall.Signal) {
	a.w.t.Helper()
	require.NoError(a.w.t, a.cmd.Process.Signal(signal))
}

// Kill ends the process without warning.
func (a *Agent) Kill() { a.end(syscall.SIGKILL) }

// Stop asks the process to end.
func (a *Agent) Stop() { a.end(syscall.SIGTERM) }

func (a *Agent) end(signal syscall.Signal) {
	a.w.t.Helper()
	require.NoError(a.w.t, a.cmd.Process.Signal(signal))
	a.AwaitEnd()
}

// AwaitEnd waits until the process has ended and returns its exit code; -1 after a signal.
func (a *Agent) AwaitEnd() int {
	a.w.t.Helper()
	select {
	case <-a.done:
	case <-time.After(20 * time.Second):
		require.FailNow(a.w.t, "the agent does not end", a.Log())
	}
	return a.cmd.ProcessState.ExitCode()
}

// Ended says whether the process has ended.
func (a *Agent) Ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// Pid of the running process.
func (a *Agent) Pid() int { return a.cmd.Process.Pid }

// Log is all that the process wrote since its start.
func (a *Agent) Log() string { return a.log.String() }

// AwaitLog waits until the log holds a text.
func (a *Agent) AwaitLog(text string, within time.Duration) {
	a.w.t.Helper()
	a.w.Eventually(within, "agent "+a.Name+" logs "+text, func() bool { return strings.Contains(a.Log(), text) })
}

// Get asks a page of the agent. Code 0 means that nobody answers.
func (a *Agent) Get(path string) (code int, body string) {
	r, err := insideClient(a.Host.Namespace, 5*time.Second).Get("http://127.0.0.1:9646" + path)
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

// AwaitReady waits until the agent says that it is ready.
func (a *Agent) AwaitReady(within time.Duration) {
	a.w.t.Helper()
	a.w.Eventually(within, "agent "+a.Name+" is ready", func() bool {
		code, _ := a.Get("/readyz")
		return code == http.StatusOK
	})
}

// Metric reads one metric; of one with labels, the sum.
func (a *Agent) Metric(name string) float64 {
	a.w.t.Helper()
	code, body := a.Get("/metrics")
	require.Equal(a.w.t, http.StatusOK, code, body)
	sum, found := 0.0, false
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(key, "{"); bare == name {
			v, err := strconv.ParseFloat(value[strings.LastIndexByte(value, ' ')+1:], 64) // the value of a label may hold a space
			require.NoError(a.w.t, err)
			sum, found = sum+v, true
		}
	}
	require.True(a.w.t, found, "no metric %s in %s", name, body)
	return sum
}

// CPU is the processor time that the process has used so far.
func (a *Agent) CPU() time.Duration {
	a.w.t.Helper()
	used, err := processCPU(a.Pid())
	require.NoError(a.w.t, err)
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
func (a *Agent) finish() {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	<-a.done
	if strings.Contains(a.Log(), "DATA RACE") {
		a.w.t.Errorf("agent %s: %s", a.Name, a.Log())
	}
	if failed, ok := a.w.t.(interface{ Failed() bool }); ok && failed.Failed() {
		a.w.t.Logf("agent %s said:\n%s", a.Name, a.Log())
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
