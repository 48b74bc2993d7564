package foreman_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/keep"
	"github.com/weir-lb/weir/loadmon"
)

// soon is how long a test waits for what must happen.
const soon = time.Minute

// lab is an etcd with launchers on some nodes and a leader.
type lab struct {
	t        *testing.T
	endpoint string
	store    *etcd.Store
	hosts    map[string]*host
	mu       sync.Mutex
	newest   *cluster.Snapshot // that leaders decide from
	measured map[string]map[string]loadmon.Measured
}

// newLab has the nodes n1 and n2.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := emptyLab(t)
	for i, node := range []string{"n1", "n2"} {
		l.node(node, i, nil)
	}
	return l
}

func emptyLab(t *testing.T) *lab {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "unix://" + filepath.Join(t.TempDir(), "etcd.sock"), NoSync: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	l := &lab{t: t, endpoint: server.Endpoint(), store: open(t, server.Endpoint()), hosts: map[string]*host{}}
	l.during(func(ctx context.Context) error {
		return l.store.Watch(ctx, etcd.WatchOptions{}, func(s *cluster.Snapshot) { l.mu.Lock(); defer l.mu.Unlock(); l.newest = s })
	})
	return l
}

func open(t *testing.T, endpoint string) *etcd.Store {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{endpoint}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (l *lab) during(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	var going sync.WaitGroup
	going.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			l.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); going.Wait() })
	l.t.Cleanup(stop)
	return stop
}

// node has a launcher and an agent that says that it has applied everything. Stopped, it is gone with all that it ran.
func (l *lab) node(name string, number int, change func(*keep.Config)) (stop func()) {
	s := open(l.t, l.endpoint)
	address := netip.AddrFrom4([4]byte{192, 168, 10, byte(number + 1)})
	require.NoError(l.t, s.Join(l.t.Context(), name, &cluster.Node{Addresses: []netip.Addr{address}}))
	alive := l.during(func(ctx context.Context) error { return s.Alive(ctx, name) })
	applied := l.during(func(ctx context.Context) error {
		return s.Watch(ctx, etcd.WatchOptions{}, func(snapshot *cluster.Snapshot) {
			_ = s.Applied(ctx, name, cluster.Applied{Revision: snapshot.Revision, FlowsRevision: snapshot.Revision})
		})
	})
	h := newHost()
	l.hosts[name] = h
	l.t.Cleanup(h.clear) // after the launcher has ended: it would start them anew
	c := keep.Config{
		Node: name, Drivers: map[string]launcher.Driver{"process": h}, Store: s, Look: 50 * time.Millisecond, Probe: h.probe,
		Self: cluster.Launcher{Drivers: []string{"process"}, Ports: cluster.PortRange{From: 20000, To: 20019}, Address: address},
	}
	if change != nil {
		change(&c)
	}
	k, err := keep.New(c)
	require.NoError(l.t, err)
	kept := l.during(k.Run)
	require.Eventually(l.t, func() bool {
		ops := l.operations()
		_, launching := ops.Launchers[name]
		return launching && ops.Alive[name]
	}, soon, 10*time.Millisecond, "the node is there")
	return func() {
		kept()
		applied()
		alive()
		h.clear()
	}
}

// lead runs a leader until it is stopped; report is what it last found, nothing before it leads.
func (l *lab) lead(name string) (stop func(), report func() foreman.Report) {
	var mu sync.Mutex
	var hands *foreman.Foreman
	stop = l.during(func(ctx context.Context) error {
		return l.store.Lead(ctx, etcd.Candidate{Name: name}, func(ctx context.Context, leadership *etcd.Leadership) error {
			base, err := l.store.Snapshot(ctx)
			if err != nil {
				return err
			}
			one := foreman.New(foreman.Config{
				Name: name, Store: l.store, Writer: leadership, Interval: 100 * time.Millisecond,
				Snapshot: func() *cluster.Snapshot {
					l.mu.Lock()
					defer l.mu.Unlock()
					if l.newest == nil || l.newest.Revision < base.Revision {
						return base
					}
					return l.newest
				},
				Measured: func() map[string]map[string]loadmon.Measured {
					l.mu.Lock()
					defer l.mu.Unlock()
					return l.measured
				},
			})
			mu.Lock()
			hands = one
			mu.Unlock()
			return one.Run(ctx)
		})
	})
	return stop, func() foreman.Report {
		mu.Lock()
		defer mu.Unlock()
		if hands == nil {
			return foreman.Report{}
		}
		return hands.Report()
	}
}

// commit writes a change, and returns its revision.
func (l *lab) commit(change cluster.Change) int64 {
	l.t.Helper()
	revision, err := l.store.Commit(l.t.Context(), change)
	require.NoError(l.t, err)
	return revision
}

// seen waits until leaders decide from a snapshot that shows a revision: what they are told of launchers comes another way, and
// may be newer.
func (l *lab) seen(revision int64) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.newest != nil && l.newest.Revision >= revision
	}, soon, 10*time.Millisecond, "the snapshot of revision %d", revision)
}

// looked waits until a leader has looked at what launchers and operators had said by a revision.
func (l *lab) looked(report func() foreman.Report, revision int64) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return report().Revision >= revision }, soon, 10*time.Millisecond, "a look at revision %d", revision)
}

// again has a leader look so many times more.
func (l *lab) again(report func() foreman.Report, times int) {
	l.t.Helper()
	for range times {
		l.looked(report, l.commit(cluster.SetConfig{Config: &cluster.Config{}})) // nodes tell that they have applied it
	}
}

func (l *lab) publish(change func(*cluster.Service)) {
	l.t.Helper()
	snapshot, err := l.store.Snapshot(l.t.Context())
	require.NoError(l.t, err)
	s := &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Run: &cluster.Run{Command: []string{"/bin/a"}}}
	var previous *cluster.Service
	if in, ok := snapshot.Services.Get("a"); ok {
		previous = in.Service
		next := *previous
		s = &next
	}
	change(s)
	l.commit(cluster.Publish{Service: s, Previous: previous})
}

func (l *lab) scale(s cluster.Scaled) int64 {
	l.t.Helper()
	return l.commit(cluster.SetScaled{Service: "a", Scaled: &s})
}

func (l *lab) operations() *cluster.Operations {
	l.t.Helper()
	ops, err := l.store.Operations(l.t.Context())
	require.NoError(l.t, err)
	return ops
}

// wanted is how many instances are assigned to nodes, by what is wanted of them.
func (l *lab) wanted() map[cluster.Wanted]int {
	l.t.Helper()
	out := map[cluster.Wanted]int{}
	for _, assigned := range l.operations().Assigned {
		for _, a := range assigned {
			out[a.Wanted]++
		}
	}
	return out
}

// events are those of the service.
func (l *lab) events() []cluster.Event {
	l.t.Helper()
	events, err := l.store.Events(l.t.Context(), "a")
	require.NoError(l.t, err)
	return events
}

// crashed is what events tell of ends.
func (l *lab) crashed() (reasons []string) {
	l.t.Helper()
	for _, e := range l.events() {
		if e.What == cluster.EventCrashed {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// serving are the instances that take new connections, by node.
func (l *lab) serving() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]string{}
	if l.newest == nil {
		return out
	}
	if in, ok := l.newest.Services.Get("a"); ok {
		for _, s := range cluster.Resolve(in).Instances {
			if s.Takes() {
				out[s.Node] = append(out[s.Node], s.Instance.ID)
			}
		}
	}
	return out
}

// until waits until those that serve are as they should be, and returns them.
func (l *lab) until(what string, fits func(map[string][]string) bool) (serving map[string][]string) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		serving = l.serving()
		return fits(serving)
	}, soon, 10*time.Millisecond, what)
	return serving
}

func total(m map[string][]string) (n int) {
	for _, ids := range m {
		n += len(ids)
	}
	return n
}

// are says whether so many serve.
func are(n int) func(map[string][]string) bool {
	return func(m map[string][]string) bool { return total(m) == n }
}
