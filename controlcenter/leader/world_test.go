package leader_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/loadmon"
)

// memory is a store in memory, for tests whose time is not real.
type memory struct {
	mu      sync.Mutex
	draft   *cluster.Draft
	last    int64
	changed chan struct{}
	secret  string
	events  []cluster.Event
	writes  int
	refuse  error                    // of writes
	config  int64                    // when the configuration was written
	late    func([]cluster.Decision) // runs between a decision and its write; nil: nothing does
	blind   bool                     // the watch sees nothing
	weights map[string]*cluster.Weights
	presence
	launchers
}

func newMemory() *memory {
	return &memory{draft: cluster.NewDraft(), last: 100, changed: make(chan struct{}), weights: map[string]*cluster.Weights{}}
}

// change edits what is stored.
func (m *memory) change(edit func(d *cluster.Draft, revision int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	edit(m.draft, m.last)
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Snapshot(context.Context) (*cluster.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draft.Snapshot(m.last), nil
}

func (m *memory) Watch(ctx context.Context, deliver func(*cluster.Snapshot)) error {
	for {
		m.mu.Lock()
		snapshot, changed, blind := m.draft.Snapshot(m.last), m.changed, m.blind
		m.mu.Unlock()
		if !blind {
			deliver(snapshot)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (m *memory) Lead(ctx context.Context, _ string, _ time.Duration, lead func(context.Context, leader.Writer) error) error {
	return lead(ctx, m)
}

func (m *memory) Secret(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.secret, nil
}

func (m *memory) Write(_ context.Context, decisions ...cluster.Decision) (revision int64, err error) {
	m.mu.Lock()
	refuse, late := m.refuse, m.late
	m.mu.Unlock()
	if late != nil {
		late(decisions)
	}
	if refuse != nil {
		return 0, refuse
	}
	m.change(func(d *cluster.Draft, at int64) {
		revision = at
		if slices.ContainsFunc(decisions, m.stale) {
			err = cluster.ErrStale
			return
		}
		for _, decision := range decisions {
			switch w := decision.(type) {
			case cluster.AsOf:
			case cluster.SetWeights:
				if w.Weights != nil && w.Weights.Usable() != nil {
					err = w.Weights.Usable()
					return
				}
				d.Weights(w.Service, w.Weights)
				m.weights[w.Service] = w.Weights
				m.writes++
			case cluster.Event:
				if !w.In.Sound() || !w.Out.Sound() {
					err = errors.New("figures of something that is no instance")
					return
				}
				m.events = append(m.events, w)
			case cluster.SetSecret:
				m.secret = w.Token
			case cluster.SetDown:
				if err = m.refuseDown(w); err != nil {
					return
				}
				d.Down(w.Node, w.Down)
			case cluster.SetGone:
				m.record(w)
			default:
				m.launch(d, decision, at)
			}
		}
	})
	return revision, err
}

// stale says whether the configuration was written after that of which something was decided.
func (m *memory) stale(d cluster.Decision) bool {
	of, ok := d.(cluster.AsOf)
	return ok && of.Config < m.config
}

// configure writes the configuration.
func (m *memory) configure(c *cluster.Config) {
	m.change(func(d *cluster.Draft, revision int64) {
		d.Config(c)
		d.Configured(revision)
		m.config = revision
	})
}

// between has something happen once, in the last moment before a decision of a kind is written.
func between[D cluster.Decision](m *memory, happen func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var once sync.Once
	m.late = func(decisions []cluster.Decision) {
		if slices.ContainsFunc(decisions, func(d cluster.Decision) bool { _, ok := d.(D); return ok }) {
			once.Do(happen)
		}
	}
}

// written is how often weights were written.
func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// stored are the weights of the service.
func (m *memory) stored() *cluster.Weights {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.weights["a"]
}

// refuses sets what writes fail with.
func (m *memory) refuses(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

// text is a log that is read while it is written.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// told are the events so far.
func (m *memory) told() []cluster.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]cluster.Event{}, m.events...)
}

// share is an instance's part of the service's traffic.
func (m *memory) share(id string) float64 {
	s, _ := m.Snapshot(context.Background())
	in, _ := s.Services.Get("a")
	sum, own := 0, 0
	for _, state := range cluster.Resolve(in).Instances {
		sum += state.Weight
		if state.Instance.ID == id {
			own = state.Weight
		}
	}
	return float64(own) / float64(max(1, sum))
}

// world is a service of which each instance runs on a node of its own, in time that is not real.
type world struct {
	t         *testing.T
	store     *memory
	service   *cluster.Service
	instances []*instance
	log       text
	registry  *prometheus.Registry
	leader    *leader.Leader
	stop      func()
	wire      wire
}

// instance takes connections that cost it time.
type instance struct {
	mu      sync.Mutex
	id      string
	node    string
	up      time.Time // its monitor's start
	at      time.Time // of the figures
	speed   float64   // connections a second at which it is fully busy
	opened  float64
	load    loadmon.Load
	falsify func(*loadmon.Report) error // what it says in place of the truth
	dark    bool                        // its node says nothing at all, and nothing comes back from there
}

const rate = 40.0 // connections a second to the service

// inWorld runs a test with instances of these speeds in a bubble of synctest.
func inWorld(t *testing.T, speeds []float64, run func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: newMemory(), service: service("a", len(speeds)), registry: prometheus.NewRegistry()}
		w.service.CreateRevision, w.service.ModRevision = 1, 1
		for i, speed := range speeds {
			w.instances = append(w.instances, &instance{id: id(i + 1), node: fmt.Sprintf("n%d", i+1), speed: speed, up: time.Now().Add(-time.Hour), at: time.Now()})
		}
		w.store.change(func(d *cluster.Draft, _ int64) {
			d.Ready(true)
			for i, instance := range w.instances {
				d.Node(instance.node, &cluster.Node{Addresses: []netip.Addr{w.service.Instances[i].Addr}, Monitor: "http://192.168.0.1:9647"})
			}
			d.Service("a", w.service)
		})
		w.start()
		synctest.Wait() // for the first round: whether it was before what the test does must not be chance
		run(w)
		w.stop()
	})
}

// start lets a new leader take over.
func (w *world) start() {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	l, err := leader.New(leader.Config{
		Name: "cc1", Store: w.store, Loads: w, Looker: &w.wire, Metrics: leader.NewMetrics(w.registry),
		Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	w.leader = l
	w.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w.t, <-ended)
	})
}

// from begins anew with another service.
func (w *world) from(edit func(*cluster.Service)) {
	w.stop()
	w.publish(edit)
	w.start()
}

// publish changes the service.
func (w *world) publish(edit func(*cluster.Service)) {
	w.store.change(func(d *cluster.Draft, revision int64) {
		next := *w.service
		next.Instances = append([]cluster.Instance{}, next.Instances...)
		edit(&next)
		next.ModRevision = revision
		w.service = &next
		d.Service("a", &next)
	})
}

func (w *world) Loads(ctx context.Context, node string, _ *cluster.Node) (loadmon.Report, []cluster.Problem, error) {
	for _, i := range w.instances {
		if i.node == node {
			if i.isDark() {
				<-ctx.Done()
				return loadmon.Report{}, nil, ctx.Err()
			}
			r, err := i.report(rate * w.store.share(i.id))
			return r, nil, err
		}
	}
	return loadmon.Report{}, nil, errors.New("connection refused")
}

// report lets the connections come that have come since the last one.
func (i *instance) report(rate float64) (loadmon.Report, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	i.opened += rate * now.Sub(i.at).Seconds()
	i.at = now
	load := i.load
	load.Service, load.Instance, load.Connections = "a", i.id, uint64(i.opened)
	load.Busy, load.Active = math.Min(1, rate/i.speed), 2
	r := loadmon.Report{Node: i.node, At: now, UptimeS: now.Sub(i.up).Seconds(), Loads: []loadmon.Load{load}}
	if i.falsify == nil {
		return r, nil
	}
	err := i.falsify(&r)
	return r, err
}

// lies sets what an instance's node says from now on; nil: the truth.
func (i *instance) lies(falsify func(*loadmon.Report) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.falsify = falsify
}

func (i *instance) isDark() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dark
}

func (i *instance) set(edit func(*instance)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	edit(i)
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) shares() (out []float64) {
	for _, i := range w.instances {
		out = append(out, w.store.share(i.id))
	}
	return out
}

// page is what one of the leader's pages shows.
func page(t testing.TB, write func(io.Writer) error) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, write(&b))
	return b.String()
}

// metric is the value of one of the leader's metrics, of all labels together.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	return w.labelled(name, "")
}

// labelled is the value of one of the leader's metrics, of the label with this value; "": of all labels together.
func (w *world) labelled(name, label string) (sum float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	require.NoError(w.t, err)
	found := false
	for _, f := range families {
		if f.GetName() != "weir_leader_"+name {
			continue
		}
		for _, m := range f.Metric {
			found = true
			for _, l := range m.Label {
				if l.GetValue() == label {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	require.True(w.t, found, name)
	return sum
}
