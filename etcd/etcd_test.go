package etcd

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/leaks"
)

func TestMain(m *testing.M) {
	// Most of these tests wait for something: more of them at once than there are cores.
	if err := flag.Set("test.parallel", "10"); err != nil {
		panic(err)
	}
	leaks.Main(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const soon = 20 * time.Second

// server starts an etcd of the test's own.
func server(t testing.TB) *embedded.Server {
	t.Helper()
	return serve(t, t.TempDir(), "127.0.0.1:0")
}

func serve(t testing.TB, dir, listen string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, Listen: listen, NoSync: true, WeakHashes: true})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// serveAgain starts an etcd where one has just ended. A child that another test is starting has that one's listener and files,
// too, until it runs its own program.
func serveAgain(t testing.TB, dir, listen string) (s *embedded.Server) {
	t.Helper()
	require.Eventually(t, func() bool { return !locked(t, dir) }, soon, 10*time.Millisecond, "the log stays locked")
	require.Eventually(t, func() bool {
		var err error
		s, err = embedded.Start(t.Context(), embedded.Options{Dir: dir, Listen: listen, NoSync: true, WeakHashes: true})
		if err != nil {
			require.ErrorIs(t, err, syscall.EADDRINUSE)
		}
		return err == nil
	}, soon, 10*time.Millisecond, "the address stays taken")
	t.Cleanup(s.Close)
	return s
}

// locked says whether somebody holds the log of an etcd: a server that finds it so ends the process.
func locked(t testing.TB, dir string) bool {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	require.NoError(t, err)
	for _, name := range logs {
		f, err := os.Open(name)
		require.NoError(t, err)
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		_ = f.Close()
		require.NoError(t, err)
		if lock.Type != unix.F_UNLCK {
			return true
		}
	}
	return false
}

func open(t testing.TB, endpoints ...string) *Store {
	t.Helper()
	return openAs(t, Config{Endpoints: endpoints})
}

func openAs(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func raw(t testing.TB, s *Store) *clientv3.Client {
	t.Helper()
	c, err := s.Client()
	require.NoError(t, err)
	return c
}

// svc is a service on 10.10.0.n with one instance.
func svc(name string, n int) *cluster.Service {
	i, err := cluster.ParseInstance(fmt.Sprintf("192.168.%d.%d:80", n/250, n%250+1))
	if err != nil {
		panic(err)
	}
	return &cluster.Service{
		Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, byte(n / 250), byte(n%250 + 1)})},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: []cluster.Instance{i},
	}
}

// publish commits a service that must not exist yet.
func publish(t testing.TB, s *Store, service *cluster.Service) int64 {
	t.Helper()
	revision, err := s.Commit(t.Context(), cluster.Publish{Service: service})
	require.NoError(t, err)
	return revision
}

// stored is a service as it stands.
func stored(t testing.TB, s *Store, name string) *cluster.Service {
	t.Helper()
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	in, ok := snapshot.Services.Get(name)
	require.True(t, ok, name)
	return in.Service
}

// watched collects what a watch delivers.
type watched struct {
	mu   sync.Mutex
	last *cluster.Snapshot
	more chan struct{}
	stop func()
}

func watch(t testing.TB, s *Store, o WatchOptions) *watched {
	t.Helper()
	w := &watched{more: make(chan struct{}, 1)}
	w.run(t, s, o, w.deliver)
	return w
}

func (w *watched) run(t testing.TB, s *Store, o WatchOptions, deliver func(*cluster.Snapshot)) {
	t.Helper()
	if o.Spread == 0 {
		o.Spread = time.Millisecond
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Watch(ctx, o, deliver); err != nil {
			t.Error(err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	t.Cleanup(w.stop)
}

func (w *watched) deliver(s *cluster.Snapshot) {
	w.mu.Lock()
	w.last = s
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *watched) snapshot() *cluster.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// until waits for a snapshot that is as wanted.
func (w *watched) until(t testing.TB, why string, ok func(*cluster.Snapshot) bool) *cluster.Snapshot {
	t.Helper()
	late := time.After(soon)
	for {
		if s := w.snapshot(); s != nil && ok(s) {
			return s
		}
		select {
		case <-w.more:
		case <-late:
			t.Fatalf("%s: not in %s; last %+v", why, soon, w.snapshot())
		}
	}
}

func has(name string) func(*cluster.Snapshot) bool {
	return func(s *cluster.Snapshot) bool { _, ok := s.Services.Get(name); return ok }
}

func lacks(name string) func(*cluster.Snapshot) bool {
	return func(s *cluster.Snapshot) bool { return !has(name)(s) }
}

func reached(revision int64) func(*cluster.Snapshot) bool {
	return func(s *cluster.Snapshot) bool { return s.Revision >= revision }
}
