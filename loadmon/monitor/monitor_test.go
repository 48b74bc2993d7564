package monitor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/leaks"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var token = strings.Repeat("t", 40)

// store is an etcd of which a test decides what it says.
type store struct {
	mu     sync.Mutex
	token  string
	err    error
	health cluster.NodeHealth
	writes []time.Time
}

func (s *store) Secret(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, s.err
}

func (s *store) Health(_ context.Context, _ string, h cluster.NodeHealth) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false, s.err
	}
	s.health, s.writes = h, append(s.writes, time.Now())
	return true, nil
}

func (s *store) set(token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.err = token, err
}

// sampler measures what a test says; it keeps whom it was asked for.
type sampler struct {
	mu     sync.Mutex
	locals [][]loadmon.Local
	at     []time.Time
	err    error
	takes  time.Duration
}

func (s *sampler) Sample(ctx context.Context, locals []loadmon.Local, now time.Time) (loadmon.Report, error) {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	if !runner.Sleep(ctx, takes) {
		return loadmon.Report{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locals, s.at = append(s.locals, locals), append(s.at, now)
	r := loadmon.Report{Node: "n1", At: now.Round(0).UTC(), Loads: []loadmon.Load{}}
	for _, l := range locals {
		r.Loads = append(r.Loads, loadmon.Load{Service: l.Service, Instance: l.Instance, Connections: uint64(len(s.at))})
	}
	return r, s.err
}

func (s *sampler) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time{}, s.at...)
}

// published is a snapshot with a service for each list of instances, named a, b and so on; node n1 has 127.0.0.1 as its own
// only in tests that say so.
func published(t testing.TB, nodes map[string]*cluster.Node, services ...[]string) *cluster.Snapshot {
	t.Helper()
	d := cluster.NewDraft()
	for i, instances := range services {
		s := &cluster.Service{
			Name: string(rune('a' + i)), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, byte(i + 1)})}, CreateRevision: 1, ModRevision: 1,
			Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		}
		for _, address := range instances {
			instance, err := cluster.ParseInstance(address)
			require.NoError(t, err)
			s.Instances = append(s.Instances, instance)
		}
		d.Service(s.Name, s)
	}
	for name, n := range nodes {
		d.Node(name, n)
	}
	return d.Snapshot(1)
}

var n1 = map[string]*cluster.Node{"n1": {Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}}}

func newMonitor(t testing.TB, c Config) *Monitor {
	t.Helper()
	c.Node = "n1"
	if c.Sampler == nil {
		c.Sampler = &sampler{}
	}
	if c.Checker == nil {
		c.Checker = &checker{}
	}
	if c.Store == nil {
		c.Store = &store{token: token}
	}
	m, err := New(c)
	require.NoError(t, err)
	return m
}

// run runs until the returned function is called; in a synctest bubble, too.
func run(t testing.TB, do func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := do(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestSamplesUnasked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sampler{}
		m := newMonitor(t, Config{Sampler: s})
		defer run(t, m.Run)()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, s.times(), "nobody said whom to measure")

		start := time.Now()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80", "192.168.1.2:80"}))
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		at := s.times()
		require.Len(t, at, 10)
		require.Equal(t, start, at[0], "at once")
		for i := 1; i < len(at); i++ {
			require.Equal(t, 6*time.Second, at[i].Sub(at[i-1]))
		}
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}, []string{"192.168.1.1:81"}))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		listener := func(address string) []cluster.Listener {
			return []cluster.Listener{{Address: netip.MustParseAddrPort(address), Proto: cluster.TCP}}
		}
		a := loadmon.Local{Service: "a", Instance: "192.168.1.1:80", Listeners: listener("192.168.1.1:80")}
		require.Equal(t, []loadmon.Local{a}, s.locals[0])
		require.Equal(t, []loadmon.Local{a, {Service: "b", Instance: "192.168.1.1:81", Listeners: listener("192.168.1.1:81")}}, s.locals[len(s.locals)-1])
	})
}

// Who asks once in an interval gets figures of the moment, and costs no more samples; who asks more often, none that are older
// than half an interval.
func TestSamplesWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sampler{}
		m := newMonitor(t, Config{Sampler: s})
		defer run(t, m.Run)()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		time.Sleep(time.Second) // the leader's rounds have nothing to do with the first sample
		oldest := func(every time.Duration, times int) (oldest time.Duration) {
			for range times {
				time.Sleep(every)
				body(t, m, token, "GET", "/v1/load", "")
				at := s.times()
				oldest = max(oldest, time.Since(at[len(at)-1]))
			}
			return oldest
		}
		require.LessOrEqual(t, oldest(5*time.Second, 2), 2*time.Second, "the sample that was due unasked had just been taken")
		before := len(s.times())
		require.Zero(t, oldest(5*time.Second, 12))
		require.Equal(t, 12, len(s.times())-before, "one for each question")
		before = len(s.times())
		require.Less(t, oldest(100*time.Millisecond, 600), 2500*time.Millisecond)
		require.LessOrEqual(t, len(s.times())-before, 60*1000/2500+1)

		s.mu.Lock()
		s.takes = 10 * time.Second
		s.mu.Unlock()
		time.Sleep(3 * time.Second)
		begin := time.Now()
		body(t, m, token, "GET", "/v1/load", "")
		require.LessOrEqual(t, time.Since(begin), 500*time.Millisecond, "an older one is better than none")
	})
}

// What cannot be measured now is measured the next time, and what was known stays.
func TestSampleFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sampler{}
		m := newMonitor(t, Config{Sampler: s})
		defer run(t, m.Run)()
		require.ErrorContains(t, m.WriteReport(io.Discard), "nothing has been measured yet")
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		time.Sleep(13 * time.Second) // it has measured after 0, 6 and 12 s, and not at this moment
		before := body(t, m, token, "GET", "/v1/load", "")
		var page strings.Builder
		require.NoError(t, m.WriteReport(&page))
		require.Equal(t, before, page.String())
		require.Contains(t, before, `"connections":`)
		s.mu.Lock()
		s.err = errors.New("no answer")
		s.mu.Unlock()
		time.Sleep(19 * time.Second)
		synctest.Wait()
		require.Equal(t, before, body(t, m, token, "GET", "/v1/load", ""))
		require.Len(t, s.times(), 6, "each five seconds from then on")
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.NotEqual(t, before, body(t, m, token, "GET", "/v1/load", ""))
	})
}

func ask(t testing.TB, m *Monitor, token, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	return w
}

func body(t testing.TB, m *Monitor, token, method, path, text string) string {
	t.Helper()
	w := ask(t, m, token, method, path, text)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return w.Body.String()
}

func TestWhatAMonitorNeeds(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Node: "n1"}, {Node: "n1", Sampler: &sampler{}}, {Node: "n1", Sampler: &sampler{}, Store: &store{}}, {Sampler: &sampler{}, Checker: &checker{}, Store: &store{}}} {
		_, err := New(c)
		require.EqualError(t, err, "a load monitor needs a node name, a sampler, a checker and a store")
	}
}

// Whoever wants weights that follow the load learns that there is none to follow.
func TestUnmeasured(t *testing.T) {
	t.Parallel()
	m := newMonitor(t, Config{Sampler: blind{}})
	s := published(t, n1, []string{"192.168.1.1:80", "192.168.1.1:81", "192.168.1.2:80"}, []string{"192.168.1.1:82"})
	in, _ := s.Services.Get("a")
	in.Service.Balance = cluster.BalanceAdaptive
	m.Deliver(s)
	for range settled {
		require.Zero(t, m.Unmeasured(), "too early to say")
		require.NoError(t, m.sample(t.Context()))
	}
	require.Equal(t, 2, m.Unmeasured(), "those of this node, and of the service that follows its load")
	m.c.Sampler = &sampler{}
	require.NoError(t, m.sample(t.Context()))
	require.Zero(t, m.Unmeasured())
}

// blind finds no process.
type blind struct{}

func (blind) Sample(context.Context, []loadmon.Local, time.Time) (loadmon.Report, error) {
	return loadmon.Report{}, nil
}
