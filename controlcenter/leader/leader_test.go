package leader_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/loadmon"
)

// soon is how long a test waits for what must happen.
const soon = time.Minute

// round is the interval of tests: rounds follow each other quickly, and figures of real time do not fit in.
const round = 100 * time.Millisecond

func server(t testing.TB) string {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, WeakHashes: true})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s.Endpoint()
}

// real is an etcd as the leader needs it.
type real struct{ *etcd.Store }

func (r real) Watch(ctx context.Context, deliver func(*cluster.Snapshot)) error {
	return r.Store.Watch(ctx, etcd.WatchOptions{Spread: time.Millisecond}, deliver)
}

func (r real) Lead(ctx context.Context, name string, lease time.Duration, lead func(context.Context, leader.Writer) error) error {
	return r.Store.Lead(ctx, etcd.Candidate{Name: name, TTL: lease}, func(ctx context.Context, l *etcd.Leadership) error { return lead(ctx, l) })
}

func open(t testing.TB, endpoint string) real {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{endpoint}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return real{s}
}

// nodes are load monitors that say what a test lets them say.
type nodes struct {
	mu      sync.Mutex
	reports map[string]func() (loadmon.Report, error)
}

func (n *nodes) set(node string, report func() (loadmon.Report, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reports == nil {
		n.reports = map[string]func() (loadmon.Report, error){}
	}
	n.reports[node] = report
}

func (n *nodes) Loads(_ context.Context, node string, _ *cluster.Node) (loadmon.Report, []cluster.Problem, error) {
	n.mu.Lock()
	report := n.reports[node]
	n.mu.Unlock()
	if report == nil {
		return loadmon.Report{}, nil, errors.New("connection refused")
	}
	r, err := report()
	return r, nil, err
}

var began = time.Now().Add(-time.Hour)

// says makes a report of this moment, with the counters of a monitor that has run for an hour.
func says(node string, loads ...loadmon.Load) func() (loadmon.Report, error) {
	return func() (loadmon.Report, error) {
		return loadmon.Report{Node: node, At: time.Now(), UptimeS: time.Since(began).Seconds(), Loads: loads}, nil
	}
}

func id(i int) string { return fmt.Sprintf("192.168.0.%d:80", i) }

// service is one with so many instances, each on a node of its own: n1, n2 and so on.
func service(name string, instances int) *cluster.Service {
	s := &cluster.Service{
		Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, name[0]})}, Balance: cluster.BalanceAdaptive,
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
	}
	for i := range instances {
		instance, err := cluster.ParseInstance(id(i + 1))
		if err != nil {
			panic(err)
		}
		s.Instances = append(s.Instances, instance)
	}
	return s
}

// published commits a service and the nodes of its instances.
func published(t testing.TB, s real, service *cluster.Service) *cluster.Inputs {
	t.Helper()
	for i, instance := range service.Instances {
		require.NoError(t, s.Join(t.Context(), fmt.Sprintf("n%d", i+1), &cluster.Node{Addresses: []netip.Addr{instance.Addr}, Monitor: "http://" + instance.Addr.String() + ":9647"}))
	}
	if old := inputs(t, s, service.Name); old != nil {
		service.ModRevision, service.CreateRevision = old.Service.ModRevision, old.Service.CreateRevision
	}
	_, err := s.Commit(t.Context(), cluster.Publish{Service: service})
	require.NoError(t, err)
	return inputs(t, s, service.Name)
}

// inputs are what is stored of a service, nil for nothing.
func inputs(t testing.TB, s real, name string) *cluster.Inputs {
	t.Helper()
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get(name)
	return in
}

// lead runs a leader until the returned function is called.
func lead(t testing.TB, c leader.Config) (l *leader.Leader, stop func()) {
	t.Helper()
	if c.Name == "" {
		c.Name = "cc1"
	}
	if c.Interval == 0 {
		c.Interval = round
	}
	l, err := leader.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return l, stop
}

func eventually(t testing.TB, why string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, soon, 10*time.Millisecond, why)
}

// rounds waits until a leader has so many more behind it.
func rounds(t testing.TB, l *leader.Leader, n int) {
	t.Helper()
	last := func() (at time.Time) {
		var state struct{ Round time.Time }
		require.NoError(t, json.Unmarshal([]byte(page(t, l.WriteState)), &state))
		return state.Round
	}
	for range n {
		before := last()
		eventually(t, "a round", func() bool { return last().After(before) })
	}
}

func TestTheLeaderMakesTheToken(t *testing.T) {
	t.Parallel()
	s := open(t, server(t))
	_, stop := lead(t, leader.Config{Store: s, Loads: &nodes{}})
	token := func() string {
		token, err := s.Secret(t.Context())
		require.NoError(t, err)
		return token
	}
	eventually(t, "a token", func() bool { return token() != "" })
	first := token()
	require.Len(t, first, 64)
	stop()
	two, _ := lead(t, leader.Config{Store: s, Loads: &nodes{}, Name: "cc2"})
	rounds(t, two, 2)
	require.Equal(t, first, token(), "the next leader keeps it")
}

// Three instances: one of them fails each connection, and is ejected although nothing else is known of them.
func TestAnInstanceThatFailsIsEjected(t *testing.T) {
	t.Parallel()
	s := open(t, server(t))
	published(t, s, service("a", 3))
	n := &nodes{}
	for i := range 3 {
		n.set(fmt.Sprintf("n%d", i+1), says(fmt.Sprintf("n%d", i+1), loadmon.Load{Service: "a", Instance: id(i + 1), Busy: 0.5}))
	}
	l, _ := lead(t, leader.Config{Store: s, Loads: n})
	rounds(t, l, 5)
	require.Nil(t, inputs(t, s, "a").Weights, "nothing moved, nothing is written")
	failed := uint64(0)
	n.set("n2", func() (loadmon.Report, error) {
		failed += 10
		return says("n2", loadmon.Load{Service: "a", Instance: id(2), Busy: 0.5, Connections: failed, Failed: failed, FailedInRow: uint32(failed)})()
	})
	eventually(t, "an ejection", func() bool { w := inputs(t, s, "a").Weights; return w != nil && len(w.Ejected) == 1 })
	in := inputs(t, s, "a")
	require.Contains(t, in.Weights.Ejected, id(2))
	require.Equal(t, cluster.Ejected, cluster.Resolve(in).Instances[1].Status)
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Regexp(t, `^192.168.0.2:80 is ejected: \d+ connections in a row failed; `, events[0].Reason)
	require.Equal(t, "cc1", events[0].By)
	require.Positive(t, events[0].In[id(2)]["failed"])
	require.Zero(t, events[0].Out[id(2)]["share"])
}

// deaf does not learn that a leadership ended, as a process does that was stopped in the middle of a round.
type deaf struct{ real }

func (d deaf) Lead(ctx context.Context, name string, lease time.Duration, lead func(context.Context, leader.Writer) error) error {
	return d.real.Lead(ctx, name, lease, func(_ context.Context, w leader.Writer) error { return lead(ctx, w) })
}

// It goes on until it wants to write, and is refused by etcd. Then it gives up what it does not have any more.
func TestAFormerLeaderIsRefused(t *testing.T) {
	t.Parallel()
	endpoint := server(t)
	s := open(t, endpoint)
	static := service("a", 2)
	static.Balance, static.Load = cluster.BalanceStatic, &cluster.LoadSource{Agent: 8081}
	published(t, s, static)
	n := &nodes{}
	n.set("n1", says("n1", loadmon.Load{Service: "a", Instance: id(1)}))
	n.set("n2", says("n2", loadmon.Load{Service: "a", Instance: id(2)}))
	one, _ := lead(t, leader.Config{Store: deaf{open(t, endpoint)}, Loads: n})
	leading := func(l *leader.Leader) func() bool {
		return func() bool { return strings.Contains(page(t, l.WriteState), `"leading": true`) }
	}
	settled := func(l *leader.Leader) func() bool {
		return func() bool { return strings.Contains(page(t, l.WriteState), `"services": 1`) }
	}
	eventually(t, "cc1 leads and has a round behind it", settled(one))
	client, err := s.Client()
	require.NoError(t, err)
	leases, err := client.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, leases.Leases, 1)
	_, err = client.Revoke(t.Context(), leases.Leases[0].ID)
	require.NoError(t, err)
	two, _ := lead(t, leader.Config{Store: open(t, endpoint), Loads: n, Name: "cc2", Interval: maxRound})
	eventually(t, "cc2 leads and has a round behind it", settled(two))
	require.True(t, leading(one)(), "it does not know better")
	require.NotContains(t, page(t, one.WriteState), `"until"`)
	wish := 0.5
	n.set("n1", says("n1", loadmon.Load{Service: "a", Instance: id(1), Wish: &wish}))
	eventually(t, "cc1 learns it", func() bool { return !leading(one)() })
	require.Contains(t, page(t, one.WriteState), `"until": "20`, "its page says since when it decides nothing")
	for _, e := range must(s.Events(t.Context(), "a")) {
		require.Equal(t, "cc2", e.By)
	}
}

// maxRound is an interval in which a leader does not come to a second round while the test lasts.
const maxRound = 10 * time.Second

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Nothing is known of any node: nothing moves, and nobody is blamed.
func TestALeaderWithoutNodes(t *testing.T) {
	t.Parallel()
	s := open(t, server(t))
	_, err := s.Commit(t.Context(), cluster.Publish{Service: service("a", 3)})
	require.NoError(t, err)
	l, _ := lead(t, leader.Config{Store: s, Loads: &nodes{}})
	eventually(t, "a decision", func() bool {
		return strings.Contains(page(t, l.WriteDecisions), "frozen: 3 of 3 instances have no fresh figures")
	})
	rounds(t, l, 3)
	require.Nil(t, inputs(t, s, "a").Weights)
	require.Empty(t, page(t, l.WriteProblems))
	require.NoError(t, l.Ready())
}

func TestMistakesInTheConfiguration(t *testing.T) {
	t.Parallel()
	_, err := leader.New(leader.Config{Name: "Two Words", Interval: time.Hour, Lease: time.Second})
	for _, want := range []string{"name: ", "interval 1h0m0s is outside 100ms..10s", "lease 1s is outside 2s..5m0s"} {
		require.ErrorContains(t, err, want)
	}
}
