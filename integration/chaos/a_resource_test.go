package chaos

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)

// memoryLimit puts processes under a limit of memory, in a control group of its own that goes with the row.
type memoryLimit struct{ dir, limit, peak string }

func (r *run) memoryLimit() *memoryLimit {
	r.Helper()
	m := &memoryLimit{dir: "/sys/fs/cgroup", limit: "memory.max", peak: "memory.peak"}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		m = &memoryLimit{dir: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes"}
	}
	m.dir = filepath.Join(m.dir, fmt.Sprintf("weir-chaos-%d-%d", os.Getpid(), time.Now().UnixNano()))
	require.NoError(r, os.Mkdir(m.dir, 0o755))
	r.Cleanup(func() { // the processes in it end with the world, which is closed before
		require.Eventually(r.T, func() bool { return os.Remove(m.dir) == nil }, 5*time.Second, 10*time.Millisecond)
	})
	return m
}

func (m *memoryLimit) set(r *run, bytes int) {
	r.Helper()
	require.NoError(r, os.WriteFile(filepath.Join(m.dir, m.limit), []byte(strconv.Itoa(bytes)), 0))
}

// start starts an agent inside: a shell goes in and becomes the agent.
func (m *memoryLimit) start(r *run, a *integration.Agent) {
	r.Helper()
	script := filepath.Join(r.TempDir(), "agent")
	text := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", m.dir, program)
	require.NoError(r, os.WriteFile(script, []byte(text), 0o755))
	a.Program = script
	a.Start()
}

// outOfMemory runs an agent with so many services under a tight limit, and then under one that it cannot live with.
func outOfMemory(r *run) {
	const services, limit, hopeless = 10000, 96 << 20, 20 << 20
	m := r.memoryLimit()
	w := r.world(integration.Options{Nodes: 1})
	p, a := r.probe(w), w.Agents[0]
	revision := w.PutAll(integration.Many(services, 5, 80))
	a.AwaitRevision(revision, time.Minute)
	a.Kill()
	m.set(r, limit)
	restarts := -1
	for ready := false; !ready && restarts < 5; restarts++ {
		m.start(r, a)
		ready = r.lives(w, a)
	}
	peak, err := os.ReadFile(filepath.Join(m.dir, m.peak))
	require.NoError(r, err)
	bytes, err := strconv.Atoi(strings.TrimSpace(string(peak)))
	require.NoError(r, err)
	r.figure("restarts", float64(restarts))
	r.figure("peak_mib", float64(bytes>>20))
	p.more(100)
	a.Kill()

	m.set(r, hopeless)
	m.start(r, a)
	require.Equal(r, -1, a.AwaitEnd(), "ended by a signal, the kernel's")
	p.more(300)
	m.set(r, 1<<30)
	m.start(r, a)
	a.AwaitReady(20 * time.Second)
	writes := a.Metric("weir_agent_writes_total")
	r.figure("writes_after_the_kill", writes)
	p.more(100)
	p.unharmed()
	require.Zero(r, writes)
	require.LessOrEqual(r, restarts, 1)
}

// lives waits until an agent is ready, or has ended.
func (r *run) lives(w *integration.World, a *integration.Agent) (ready bool) {
	w.Eventually(30*time.Second, "the agent is ready or has ended", func() bool {
		code, _ := a.Get("/readyz")
		ready = code == http.StatusOK
		return ready || a.Ended()
	})
	return ready
}

// leaks counts what the agent holds before and after so many changes.
func leaks(r *run) {
	const changes = 5000
	w := r.world(integration.Options{Nodes: 1})
	p, a := r.probe(w), w.Agents[0]
	services := integration.Many(250, 2, 80)
	storm := func(n int) {
		revision := int64(0)
		for i := range n {
			s := integration.Many(1, 1+i%3, uint16(1000+i))[0]
			s.Name, s.VIPs = services[i%len(services)].Name, services[i%len(services)].VIPs
			revision = w.PutAll([]*cluster.Service{s})
		}
		a.AwaitRevision(revision, time.Minute)
	}
	holds := func() (fds, goroutines, rss float64) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.Pid()))
		require.NoError(r, err)
		return float64(len(entries)), a.Metric("go_goroutines"), a.Metric("process_resident_memory_bytes")
	}
	w.PutAll(services)
	storm(1000) // what is made on first need is there
	fds, goroutines, rss := holds()
	storm(changes)
	var afterFds, afterGoroutines, afterRSS float64
	w.Eventually(5*time.Second, "what is under way ends", func() bool {
		afterFds, afterGoroutines, afterRSS = holds()
		return afterFds <= fds && afterGoroutines <= goroutines || a.Ended()
	})
	r.figure("fds_more", afterFds-fds)
	r.figure("goroutines_more", afterGoroutines-goroutines)
	r.figure("rss_more_mib", (afterRSS-rss)/(1<<20))
	p.unharmed()
	require.Less(r, (afterRSS-rss)/(1<<20), 20.0)
}

// noDisk takes the room for the snapshot file away: a full file system, and one that is read-only.
func noDisk(r *run) {
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	a.Stop()
	require.NoError(r, unix.Mount("weir-chaos", a.StateDir, "tmpfs", 0, "size=64k"))
	r.Cleanup(func() { _ = unix.Unmount(a.StateDir, unix.MNT_DETACH) })
	full := func() error {
		err := os.WriteFile(filepath.Join(a.StateDir, "filler"), make([]byte, 56<<10), 0o600)
		_ = os.WriteFile(filepath.Join(a.StateDir, "rest"), make([]byte, 16<<10), 0o600) // until nothing fits any more
		return err
	}
	readOnly := func() error { return unix.Mount("", a.StateDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }
	for _, spoil := range []func() error{full, readOnly} {
		require.NoError(r, spoil())
		a.Start()
		a.AwaitReady(10 * time.Second)
		a.AwaitLog("save snapshot", 15*time.Second)
		for n := 1; n <= 3; n++ {
			w.Publish(p.service(p.addresses[:n]...))
			w.Only(w.Client, p.tcp, p.addresses[:n]...)
		}
		a.AwaitReady(time.Second)
		a.Stop()
	}
	a.Start()
	a.AwaitReady(10 * time.Second)
	p.unharmed()
}

// coldStart starts the agent when etcd is away and the rules are gone as well: three times, the slowest counts.
func coldStart(r *run) {
	w := r.world(integration.Options{Nodes: 1})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	a.Stop() // which writes the snapshot file
	w.StopEtcd()
	for range 3 {
		w.NFT(node, "flush ruleset")
		began := time.Now()
		a.Start()
		load := integration.Load(p.tcp, 1)
		load.Timeout = 50 * time.Millisecond
		w.Eventually(5*time.Second, "the service is back", func() bool {
			got, err := lab.Flood(r.Context(), w.Client.Namespace, load)
			require.NoError(r, err)
			return got.Failed == 0
		})
		r.repaired(time.Since(began))
		w.Eventually(5*time.Second, "the agent says that it works from the file", r.unready(a, "working from the snapshot file"))
		require.Equal(r, 1.0, a.Metric("weir_agent_stale"))
		a.Kill()
	}
	p.stop() // there were times without rules
	a.Start()
	w.StartEtcd()
	a.AwaitReady(15 * time.Second)
	require.Zero(r, a.Metric("weir_agent_stale"))
	w.Only(w.Client, p.tcp, p.addresses...)
	require.Less(r, r.line.Repair, 1000.0)
}
