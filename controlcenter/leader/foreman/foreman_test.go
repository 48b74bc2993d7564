package foreman_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// host runs instances as plain processes of the test: what a driver does, with as little as it takes.
type host struct {
	mu    sync.Mutex
	there map[string]*running
	busy  int // a port that somebody else has; 0: the first that is asked for, -1: none
}

type running struct {
	status launcher.Status
	cmd    *exec.Cmd
}

func (h *host) Ensure(_ context.Context, spec launcher.Spec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.there[spec.ID]; r != nil && r.status.State == launcher.Running {
		return nil
	}
	port := spec.Ports[0].Port
	if h.busy == 0 {
		h.busy = int(port)
	}
	if h.busy == int(port) {
		return launcher.ErrPortBusy
	}
	cmd := exec.Command(os.Args[0], "listen", fmt.Sprintf("127.0.0.1:%d", port))
	if err := cmd.Start(); err != nil {
		return err
	}
	r := h.there[spec.ID]
	if r == nil {
		r = &running{status: launcher.Status{ID: spec.ID, Service: spec.Service}}
		h.there[spec.ID] = r
	}
	r.cmd = cmd
	r.status.State, r.status.PID, r.status.Started = launcher.Running, cmd.Process.Pid, time.Now()
	r.status.Starts++
	go func() {
		_ = cmd.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		r.status.State, r.status.PID = launcher.Exited, 0
		r.status.Exits = append(slices.Clone(r.status.Exits), launcher.Exit{At: time.Now(), Code: -1, Signal: "killed"})
	}()
	return nil
}

func (h *host) Stop(_ context.Context, id string, _ time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.there[id]; r != nil {
		if r.status.State == launcher.Running {
			_ = r.cmd.Process.Kill()
		}
		delete(h.there, id)
	}
	return nil
}

func (h *host) List(context.Context) (out []launcher.Status, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.there {
		out = append(out, r.status)
	}
	return out, nil
}

func (h *host) kill(t *testing.T, id string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NoError(t, h.there[id].cmd.Process.Kill())
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "listen" {
		listen(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// listen is an instance: it accepts until it is killed, or its parent is gone.
func listen(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_ = c.Close()
	}
}

// lab is an etcd with launchers on two nodes and a leader.
type lab struct {
	t        *testing.T
	endpoint string
	store    *etcd.Store
	hosts    map[string]*host
	mu       sync.Mutex
	newest   *cluster.Snapshot
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
	h := &host{there: map[string]*running{}, busy: -1}
	l.hosts[name] = h
	first := ports(l.t, 20)[0]
	c := keep.Config{
		Node: name, Drivers: map[string]launcher.Driver{"process": h}, Store: s, Look: 50 * time.Millisecond,
		Self: cluster.Launcher{Drivers: []string{"process"}, Ports: cluster.PortRange{From: uint16(first), To: uint16(first + 19)}, Address: address},
		// Instances listen on loopback: the nodes' addresses are nobody's here.
		Probe: func(ctx context.Context, _ *cluster.Check, at netip.AddrPort) error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(int(at.Port())))
			if err == nil {
				_ = c.Close()
			}
			return err
		},
	}
	if change != nil {
		change(&c)
	}
	k, err := keep.New(c)
	require.NoError(l.t, err)
	kept := l.during(k.Run)
	clear := func() {
		for id := range h.there {
			_ = h.Stop(context.Background(), id, 0)
		}
	}
	l.t.Cleanup(clear)
	require.Eventually(l.t, func() bool {
		ops := l.operations()
		_, launching := ops.Launchers[name]
		return launching && ops.Alive[name]
	}, 30*time.Second, 10*time.Millisecond, "the node is there")
	return func() {
		kept()
		applied()
		alive()
		clear()
	}
}

// ports are so many in a row that are free just now.
func ports(t *testing.T, n int) (out []int) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		first := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		out = out[:0]
		for port := first; port < first+n && port < 65536; port++ {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				_ = l.Close()
				out = append(out, port)
			}
		}
		if len(out) == n {
			return out
		}
	}
	t.Fatal("no ports")
	return nil
}

// lead runs a leader until it is stopped.
func (l *lab) lead(name string) (stop func(), f func() *foreman.Foreman) {
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
	return stop, func() *foreman.Foreman {
		mu.Lock()
		defer mu.Unlock()
		return hands
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
	_, err = l.store.Commit(l.t.Context(), cluster.Publish{Service: s, Previous: previous})
	require.NoError(l.t, err)
}

func (l *lab) operations() *cluster.Operations {
	l.t.Helper()
	ops, err := l.store.Operations(l.t.Context())
	require.NoError(l.t, err)
	return ops
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

func (l *lab) until(what string, fits func(map[string][]string) bool) map[string][]string {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return fits(l.serving()) }, 30*time.Second, 10*time.Millisecond, what)
	return l.serving()
}

func total(m map[string][]string) (n int) {
	for _, ids := range m {
		n += len(ids)
	}
	return n
}

func TestInstancesAreLaunchedReplacedAndMoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop, _ := l.lead("cc1")
	three := 3
	l.publish(func(s *cluster.Service) { s.Replicas = &three })
	serving := l.until("three serve", func(m map[string][]string) bool { return total(m) == 3 })
	require.Len(t, serving, 2, "on both nodes")

	id := serving["n1"][0]
	l.hosts["n1"].kill(t, id)
	l.until("it is back", func(m map[string][]string) bool { // perhaps before anybody saw that it was gone
		return total(m) == 3 && l.operations().Launched["n1"][id].Starts == 2
	})
	require.Contains(t, l.serving()["n1"], id, "the same one")

	// Another leader starts none twice.
	stop()
	_, hands := l.lead("cc2")
	require.Eventually(t, func() bool {
		var page strings.Builder
		return hands() != nil && hands().WriteReport(&page) == nil && strings.Contains(page.String(), `"serving": 3`)
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 3, total(l.serving()))

	_, err := l.store.Commit(t.Context(), cluster.SetNodeAdmin{Node: "n1", Admin: &cluster.NodeAdmin{Drain: true}})
	require.NoError(t, err)
	l.until("all on the other node", func(m map[string][]string) bool {
		require.GreaterOrEqual(t, total(m), 3, "never fewer than are wanted")
		return len(m["n1"]) == 0 && total(m) == 3
	})
	_, err = l.store.Commit(t.Context(), cluster.SetNodeAdmin{Node: "n1"})
	require.NoError(t, err)
	_, err = l.store.Commit(t.Context(), cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 5, Pinned: true}})
	require.NoError(t, err)
	l.until("an operator's word", func(m map[string][]string) bool { return total(m) == 5 && len(m["n1"]) > 0 })
	_, err = l.store.Commit(t.Context(), cluster.SetConfig{Config: &cluster.Config{Paused: true}})
	require.NoError(t, err)
	_, err = l.store.Commit(t.Context(), cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 1, Pinned: true}})
	require.NoError(t, err)
	time.Sleep(time.Second)
	require.Equal(t, 5, total(l.serving()), "paused")
	_, err = l.store.Commit(t.Context(), cluster.SetConfig{Config: &cluster.Config{}})
	require.NoError(t, err)
	l.until("resumed", func(m map[string][]string) bool { return total(m) == 1 })
	events, err := l.store.Events(t.Context(), "a")
	require.NoError(t, err)
	kinds := map[string]bool{}
	for _, e := range events {
		kinds[e.What] = true
		require.NotEmpty(t, e.Reason)
		require.NotEmpty(t, e.By)
	}
	require.Equal(t, map[string]bool{"placed": true, "drained": true, "stopped": true}, kinds)
}

// load is so many connections, over those that serve.
func (l *lab) load(connections int) (stop func()) {
	return l.during(func(ctx context.Context) error {
		for i := uint64(1); ctx.Err() == nil; i++ {
			measured := map[string]loadmon.Measured{}
			serving := l.serving()
			for node, ids := range serving {
				for _, id := range ids {
					measured[id] = loadmon.Measured{
						Load: loadmon.Load{Service: "a", Instance: id, Connections: i * 10, Active: uint64(connections / max(total(serving), 1)), Busy: 0.5},
						Node: node, At: time.Now(), Uptime: time.Duration(i) * 50 * time.Millisecond,
					}
				}
			}
			l.mu.Lock()
			l.measured = map[string]map[string]loadmon.Measured{"a": measured}
			l.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	})
}

// TestPorts has a node on which somebody else listens at the first port that an instance gets, and a claim that nobody uses, as
// of a leader that died in between. Nothing happens in the cluster meanwhile that would have nodes apply anything.
func TestPorts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hosts["n1"].mu.Lock()
	l.hosts["n1"].busy = 0
	l.hosts["n1"].mu.Unlock()
	one, two := 1, 2
	l.publish(func(s *cluster.Service) { s.Replicas = &one })
	l.lead("cc1")
	l.until("one serves", func(m map[string][]string) bool { return total(m) == 1 })
	l.publish(func(s *cluster.Service) { s.Replicas = &two })
	l.until("on both nodes", func(m map[string][]string) bool { return len(m["n1"]) == 1 && len(m["n2"]) == 1 })
	l.hosts["n1"].mu.Lock()
	busy := uint16(l.hosts["n1"].busy)
	l.hosts["n1"].mu.Unlock()
	require.NotZero(t, busy)
	claims := l.operations().Ports["n1"]
	require.True(t, claims[busy].Busy, "it is noted: %v", claims)
	require.Len(t, claims, 2)

	client, err := l.store.Client()
	require.NoError(t, err)
	_, err = client.Put(t.Context(), l.store.Prefix()+fmt.Sprintf("ops/ports/n1/%d", busy+5), `{"service":"a","id":"a-lost"}`)
	require.NoError(t, err)
	begin := time.Now()
	require.Eventually(t, func() bool { return len(l.operations().Ports["n1"]) == 2 }, time.Minute, 20*time.Millisecond)
	t.Logf("the claim that nobody uses was freed after %s", time.Since(begin).Round(time.Millisecond))
	require.Contains(t, l.operations().Ports["n1"], busy)

	l.publish(func(s *cluster.Service) { s.Replicas = &one })
	l.until("one is left", func(m map[string][]string) bool { return total(m) == 1 })
	begin = time.Now()
	require.Eventually(t, func() bool { o := l.operations(); return len(o.Ports["n1"])+len(o.Ports["n2"]) == 2 }, time.Minute, 20*time.Millisecond)
	t.Logf("the port of an instance that went was freed after %s", time.Since(begin).Round(time.Millisecond))
}

func TestTheLoadDecidesHowMany(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.lead("cc1")
	l.publish(func(s *cluster.Service) {
		s.Scale = &cluster.Scale{Min: 2, Max: 6, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}}
	})
	l.until("the least", func(m map[string][]string) bool { return total(m) == 2 })
	l.load(600)
	l.until("six", func(m map[string][]string) bool { return total(m) == 6 })
	events, err := l.store.Events(t.Context(), "a")
	require.NoError(t, err)
	i := slices.IndexFunc(events, func(e cluster.Event) bool { return e.What == cluster.EventScaled && e.Out["service"]["to"] == 6 })
	require.GreaterOrEqual(t, i, 0, "%v", events)
	require.Contains(t, events[i].Reason, "connections:")

	// Whoever publishes the service again does not know of that, and need not.
	l.publish(func(s *cluster.Service) { s.Run.Grace = cluster.Duration(time.Minute) })
	l.publish(func(s *cluster.Service) { s.Scale = &cluster.Scale{Min: 1, Max: 8, Metrics: s.Scale.Metrics} })
	require.Eventually(t, func() bool {
		graced := 0
		for _, assigned := range l.operations().Assigned {
			for _, a := range assigned {
				graced += int(time.Duration(a.Run.Grace) / time.Minute)
			}
		}
		require.Equal(t, 6, total(l.serving()))
		return graced == 6
	}, 30*time.Second, 10*time.Millisecond, "instances have the new file")
	require.Equal(t, 6, l.operations().Scaled["a"].Replicas)
}

// TestAListOfMachinesScales without a launcher: what was called stays called whoever leads, and whether anybody does.
func TestAListOfMachinesScales(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop, _ := l.lead("cc1")
	l.publish(func(s *cluster.Service) {
		s.Run, s.Scale = nil, &cluster.Scale{Min: 2, Max: 9, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}, Window: cluster.Duration(time.Second)}
		for i := range 5 {
			one, err := cluster.ParseInstance(fmt.Sprintf("192.168.20.%d:80", i+1))
			require.NoError(t, err)
			one.Standby = i > 0
			s.Instances = append(s.Instances, one)
		}
	})
	is := func(n int) func(map[string][]string) bool {
		return func(m map[string][]string) bool { return total(m) == n }
	}
	l.until("the least", is(2))
	stopLoad := l.load(350)
	l.until("four", is(4))
	scale := func(s cluster.Scaled) {
		t.Helper()
		_, err := l.store.Commit(t.Context(), cluster.SetScaled{Service: "a", Scaled: &s})
		require.NoError(t, err)
	}
	scale(cluster.Scaled{Replicas: 5, Pinned: true})
	l.until("an operator's word", is(5))
	_, err := l.store.Commit(t.Context(), cluster.SetScaled{Service: "a"})
	require.NoError(t, err)
	require.Never(t, func() bool { return total(l.serving()) < 4 }, 500*time.Millisecond, 10*time.Millisecond, "a lost number begins with as many as serve")
	scale(cluster.Scaled{Replicas: 5, Pinned: true})
	l.until("five", is(5))

	stop()
	l.publish(func(s *cluster.Service) { s.Balance = cluster.BalanceUniform })
	_, err = l.store.Commit(t.Context(), cluster.SetConfig{Config: &cluster.Config{Paused: true}})
	require.NoError(t, err)
	require.Equal(t, 5, total(l.serving()), "nobody leads, and it was published again")
	_, hands := l.lead("cc2")
	stopLoad()
	l.load(10)
	scale(cluster.Scaled{Replicas: 5})
	require.Never(t, func() bool { return total(l.serving()) != 5 }, 300*time.Millisecond, 20*time.Millisecond, "paused")
	_, err = l.store.Commit(t.Context(), cluster.SetConfig{Config: &cluster.Config{}})
	require.NoError(t, err)
	l.until("the least again", is(2))
	require.Eventually(t, func() bool {
		r := hands().Report()
		return len(r.Services) == 1 && r.Services[0].Serving == 2 && r.Services[0].Standby == 3
	}, 10*time.Second, 10*time.Millisecond)
	events, err := l.store.Events(t.Context(), "a")
	require.NoError(t, err)
	i := slices.IndexFunc(events, func(e cluster.Event) bool { return e.What == cluster.EventCalled && e.In["service"]["wanted"] == 5 })
	require.GreaterOrEqual(t, i, 0, "%v", events)
	require.Len(t, events[i].Out, 1, "the one that was called")
}
