package integration

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// Members is an etcd of several processes that can be killed, frozen and brought back one by one. They talk to each
// other over the loopback of a namespace of their own, so that no port is ever taken, and to clients through unix
// sockets, which every namespace can reach.
type Members struct {
	All  []*Member
	Host *lab.Namespace

	t   TB
	dir string
}

// Member is one of them.
type Member struct {
	Name    string
	Program string   // of the next start
	Args    []string // further flags of the next start

	of  *Members
	at  int
	cmd *exec.Cmd
	log output
}

// MembersOptions say what to run.
type MembersOptions struct {
	Programs []string // one for each member
	Args     []string // further flags of all members
}

// NewMembers starts a cluster that is gone when the test ends, and returns once each member answers.
func NewMembers(t TB, o MembersOptions) *Members {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-etcd-") // short: the path of a unix socket has at most 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	m := &Members{t: t, dir: dir}
	m.Host, err = lab.Test(t).Namespace("etcd")
	require.NoError(t, err)
	for i, program := range o.Programs {
		member := &Member{Name: fmt.Sprintf("m%d", i+1), Program: program, Args: o.Args, of: m, at: i}
		require.NoError(t, os.Mkdir(member.path(), 0o700))
		m.All = append(m.All, member)
	}
	t.Cleanup(m.stop)
	require.NoError(t, m.start())
	return m
}

// start brings back all members that do not run.
func (m *Members) start() error {
	for _, member := range m.All {
		if member.cmd == nil {
			if err := member.spawn(); err != nil {
				return err
			}
		}
	}
	for _, member := range m.All {
		if err := member.await(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Members) stop() {
	for _, member := range m.All {
		member.Kill()
	}
}

// endpoint is all of them, as --etcd takes them.
func (m *Members) endpoint() string { return strings.Join(m.Endpoints(), ",") }

// Endpoints of all members.
func (m *Members) Endpoints() (all []string) {
	for _, member := range m.All {
		all = append(all, member.Endpoint())
	}
	return all
}

// Leader is the member that leads; nil while there is none.
func (m *Members) Leader() *Member {
	for _, member := range m.All {
		if member.Metric("etcd_server_is_leader") == 1 {
			return member
		}
	}
	return nil
}

// Endpoint of the member.
func (e *Member) Endpoint() string { return "unix://" + e.Socket() }

// Socket is the file behind Endpoint. Version 3.4 wants HOST:PORT even in the address of a unix socket, and makes a file
// of that name where it runs.
func (e *Member) Socket() string { return filepath.Join(e.path(), socketName) }

// Data is the directory that holds what the member knows.
func (e *Member) Data() string { return filepath.Join(e.path(), "data") }

// Log is all that the member wrote since its start.
func (e *Member) Log() string { return e.log.String() }

// Start brings the member back with its data, and waits until it listens.
func (e *Member) Start() {
	e.of.t.Helper()
	require.NoError(e.of.t, e.spawn())
	require.NoError(e.of.t, e.await())
}

// Kill ends the member without warning, if it runs.
func (e *Member) Kill() {
	if e.cmd != nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		e.cmd = nil
	}
}

// Freeze stops the member: it keeps its connections and says nothing.
func (e *Member) Freeze() {
	e.of.t.Helper()
	require.NoError(e.of.t, lab.Freeze(e.cmd.Process))
}

// Thaw lets it go on.
func (e *Member) Thaw() {
	e.of.t.Helper()
	require.NoError(e.of.t, e.cmd.Process.Signal(syscall.SIGCONT))
}

// CPU is the processor time that the member has used so far.
func (e *Member) CPU() time.Duration {
	e.of.t.Helper()
	used, err := processCPU(e.cmd.Process.Pid)
	require.NoError(e.of.t, err)
	return used
}

func (e *Member) path() string { return filepath.Join(e.of.dir, e.Name) }

func (e *Member) peer() string { return fmt.Sprintf("http://127.0.0.1:%d", 12380+e.at) }

func (e *Member) spawn() error {
	var cluster []string
	for _, member := range e.of.All {
		cluster = append(cluster, member.Name+"="+member.peer())
	}
	args := []string{
		"--name", e.Name, "--data-dir", "data", "--listen-client-urls", "unix://" + socketName,
		"--advertise-client-urls", "unix://" + socketName, "--listen-peer-urls", e.peer(),
		"--initial-advertise-peer-urls", e.peer(), "--initial-cluster", strings.Join(cluster, ","),
		"--listen-metrics-urls", e.metrics(),
	}
	cmd := exec.Command(e.Program, append(args, e.Args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = e.path(), &e.log, &e.log
	e.log.reset()
	// One that was killed leaves its socket behind, and 3.4 would not take the place.
	if err := os.Remove(e.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := e.of.Host.Start(cmd); err != nil {
		return err
	}
	e.cmd = cmd
	return nil
}

// await waits until the member listens: it does so when it knows of a leader.
func (e *Member) await() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 20*time.Second; <-tick.C {
		if conn, err := net.Dial("unix", e.Socket()); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s %s does not listen after 20 s: %s", e.Program, e.Name, e.Log())
}

func (e *Member) metrics() string { return fmt.Sprintf("http://127.0.0.1:%d", 12480+e.at) }

// Page reads a page of the member's metrics listener.
func (e *Member) Page(path string) (string, error) {
	client := insideClient(e.of.Host, time.Second)
	r, err := client.Get(e.metrics() + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// Metric adds up a metric of the member over all its labels; of a member that does not answer it is 0.
func (e *Member) Metric(name string) (sum float64) {
	if e.cmd == nil {
		return 0
	}
	page, err := e.Page("/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		require.NoError(e.of.t, err, line)
		sum += value
	}
	return sum
}

// Watches counts the watches that the member serves.
func (e *Member) Watches() int { return int(e.Metric("etcd_debugging_mvcc_watcher_total")) }

// Wipe takes away all that a member knows that does not run.
func (e *Member) Wipe() {
	e.of.t.Helper()
	require.NoError(e.of.t, os.RemoveAll(e.Data()))
}

// Save writes a backup of the store.
func (e *Member) Save(file string) {
	e.of.t.Helper()
	e.ctl("--endpoints", "unix://"+socketName, "snapshot", "save", file)
}

// Restore gives a member that does not run, and is the only one, the state of a backup.
func (e *Member) Restore(file string) {
	e.of.t.Helper()
	e.Wipe()
	e.ctl("snapshot", "restore", file, "--data-dir", e.Data(), "--name", e.Name, "--initial-cluster", e.Name+"="+e.peer(), "--initial-advertise-peer-urls", e.peer())
}

func (e *Member) ctl(args ...string) {
	e.of.t.Helper()
	cmd := exec.Command("etcdctl", args...)
	cmd.Dir, cmd.Env = e.path(), append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.CombinedOutput()
	require.NoError(e.of.t, err, "%s", out)
}
