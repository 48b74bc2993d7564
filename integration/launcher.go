package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// Launcher is the launcher of one node, as a process.
type Launcher struct {
	*Daemon
	StateDir string
}

// StartLaunchers starts one on each node, with further flags. What they start ends with the World.
func (w *World) StartLaunchers(args ...string) (all []*Launcher) {
	w.t.Helper()
	list := filepath.Join(w.Dir, "launcher.yaml")
	command, err := lab.LaunchedCommand()
	require.NoError(w.t, err)
	allowed := fmt.Sprintf("drivers: [process, external]\nusers: [root]\nservices: [\"*\"]\npaths: [%q, /bin, /usr/bin]\n", filepath.Dir(command[0]))
	require.NoError(w.t, os.WriteFile(list, []byte(allowed), 0o600))
	for i, host := range w.Nodes {
		name := fmt.Sprintf("n%d", i+1)
		l := &Launcher{Daemon: w.daemon("launcher", name, host, "127.0.0.1:9650"), StateDir: filepath.Join(w.Dir, name+"-launcher")}
		l.Program = "setpriv" // as its unit does: a launcher has no business with the network
		l.Args = []string{
			"--bounding-set=-net_admin", "--inh-caps=-net_admin", w.o.Program, "launcher", "--node", name, "--list", list, "--state-dir", l.StateDir, "--node-ip", host.Addr4.String(), "--etcd", w.Endpoint(), "--insecure-etcd",
			"--cgroup", "", "--user", "root", "--ports", "20000-20199", "--logs-listen", ":9651",
		}
		l.Args = append(l.Args, args...)
		all = append(all, l)
		w.t.Cleanup(func() { l.finish(); l.Reap() })
		l.Start()
	}
	for _, l := range all {
		l.AwaitReady(20 * time.Second)
	}
	return all
}

// Reap ends what the launcher left running, without a word to it.
func (l *Launcher) Reap() {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environment, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.Contains(string(line), l.StateDir) || strings.Contains(string(environment), "WEIR_ENV_FILE="+l.StateDir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Launched makes a service whose instances are started by launchers.
func (w *World) Launched(name string, f cluster.Frontend, change func(*cluster.Service)) *cluster.Service {
	w.t.Helper()
	command, err := lab.LaunchedCommand()
	require.NoError(w.t, err)
	s := Service(name, f)
	// It names nobody to run as: the launchers were given one by --user.
	s.Run = &cluster.Run{Command: command, Grace: cluster.Duration(5 * time.Second)}
	if change != nil {
		change(s)
	}
	return s
}

// Serving are the ids of a service's instances that take new connections, by node.
func (w *World) Serving(service string) map[string][]string {
	w.t.Helper()
	snapshot, err := w.Store.Snapshot(w.t.Context())
	require.NoError(w.t, err)
	out := map[string][]string{}
	if in, ok := snapshot.Services.Get(service); ok {
		for _, s := range cluster.Resolve(in).Instances {
			if s.Takes() {
				out[s.Node] = append(out[s.Node], s.Instance.ID)
			}
		}
	}
	return out
}

// AllServing are the ids of Serving.
func (w *World) AllServing(service string) (ids []string) {
	w.t.Helper()
	for _, there := range w.Serving(service) {
		ids = append(ids, there...)
	}
	return ids
}

// AwaitServing waits until so many instances of a service take new connections, and returns their ids.
func (w *World) AwaitServing(service string, n int, within time.Duration) (ids []string) {
	w.t.Helper()
	w.Eventually(within, fmt.Sprintf("%d instances of %s serve", n, service), func() bool {
		ids = w.AllServing(service)
		return len(ids) == n
	})
	return ids
}

// AwaitRoutable waits until every running node's kernel sends new connections to exactly so many instances, and returns how
// long that took.
func (w *World) AwaitRoutable(f cluster.Frontend, n int, within time.Duration) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for _, a := range w.Agents {
		if a.Ended() {
			continue
		}
		for len(w.Slots(a.Host)[f]) != n {
			if time.Since(begin) > within {
				require.FailNow(w.t, fmt.Sprintf("never %d instances within %s", n, within), "%s of node %s has %d", f, a.Name, len(w.Slots(a.Host)[f]))
			}
			time.Sleep(20 * time.Millisecond) // each look is a program
		}
	}
	return time.Since(begin)
}

// Hold opens connections that stay open without a word until they are released, at the latest at the end.
func (w *World) Hold(from *lab.Host, f cluster.Frontend, n int) (release func()) {
	w.t.Helper()
	var open []net.Conn
	for range n {
		c, err := from.Dial(w.t.Context(), f.Proto.String(), Address(f).String())
		require.NoError(w.t, err)
		open = append(open, c)
	}
	release = sync.OnceFunc(func() {
		for _, c := range open {
			_ = c.Close()
		}
	})
	w.t.Cleanup(release)
	return release
}
