package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/leaks"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var errAway = errors.New("etcd is away")

// node is an agent with fakes around it, in a bubble of its own time.
type node struct {
	*Agent
	t      *testing.T
	kernel *kernel
	store  *store
	log    *log
}

// inBubble runs a test with a node that ends with it. Change may be nil.
func inBubble(t *testing.T, change func(*node, *Config), test func(*node)) {
	t.Helper()
	dir := t.TempDir() // outside: a bubble's own would end before the agent
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, kernel: newKernel(), store: &store{snapshots: make(chan *cluster.Snapshot)}, log: &log{}}
		c := Config{
			Node: "n1", Driver: n.kernel, Source: n.store, Report: n.store, StateDir: dir,
			Logger: slog.New(slog.NewTextHandler(n.log, nil)),
		}
		if change != nil {
			change(n, &c)
		}
		n.Agent = n.kernel.agent(t, c)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		synctest.Wait()
		defer func() {
			cancel()
			synctest.Wait()
			select {
			case err := <-ended:
				require.NoError(t, err, "Run returns nil when cancelled")
			default:
				require.Fail(t, "a loop goes on after the end of the context")
			}
		}()
		test(n)
	})
}

// moment is longer than anything that happens "at once".
const moment = 20 * time.Millisecond

// deliver hands in a snapshot and waits until what follows from it is done.
func (n *node) deliver(s *cluster.Snapshot) {
	n.store.snapshots <- s
	n.after(moment)
}

// after lets time pass.
func (n *node) after(d time.Duration) {
	n.kernel.meet()
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// store is etcd as the agent sees it.
type store struct {
	snapshots chan *cluster.Snapshot

	mu      sync.Mutex
	last    *cluster.Snapshot // what it was told to judge by
	away    error
	refuse  error // what a report is answered with
	reports []report
	repairs []cluster.Repairs
	woken   []woken
}

// woken is a service that the leader was told of.
type woken struct {
	service string
	at      time.Time
}

type report struct {
	cluster.Applied
	at time.Time
}

func (s *store) Watch(ctx context.Context, last *cluster.Snapshot, deliver func(*cluster.Snapshot)) error {
	s.mu.Lock()
	s.last = last
	s.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case snapshot := <-s.snapshots:
			deliver(snapshot)
		}
	}
}

func (s *store) Connected() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

func (s *store) Applied(_ context.Context, node string, a cluster.Applied) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.reports = append(s.reports, report{a, time.Now()})
	return nil
}

func (s *store) Repaired(_ context.Context, _ string, r cluster.Repairs) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.repairs = append(s.repairs, r)
	return nil
}

func (s *store) Wake(_ context.Context, node, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.woken = append(s.woken, woken{service, time.Now()})
	return nil
}

// wakes returns the services that were told of since the last call, each as often as it was.
func (s *store) wakes() (services []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.woken {
		services = append(services, w.service)
	}
	s.woken = nil
	return services
}

func (s *store) set(away, refuse error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.refuse = away, refuse
}

// repaired returns the reports of repairs since the last call.
func (s *store) repaired() []cluster.Repairs {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.repairs
	s.repairs = nil
	return out
}

// told returns the reports since the last call.
func (s *store) told() []report {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.reports
	s.reports = nil
	return out
}

// kernel is the fake of rules with faults on demand, and the node's routes; both note what was asked of them, in order.
type kernel struct {
	*rulestest.Fake
	mu      sync.Mutex
	slow    time.Duration // of each Apply
	hang    bool          // each Apply goes on until its context ends
	fail    func() error  // in place of Apply, unless it returns nil
	failing int           // how often it did
	applies int
	reads   int
	events  []string
	routed  []netip.Prefix
	noRoute error
	deaf    int // how often the watch of routes ends
	watches int
	doubts  int // how often the routes were doubted
	changed func(rules.Foreign)
}

func newKernel() *kernel {
	k := &kernel{Fake: rulestest.NewFake(1), fail: func() error { return nil }}
	k.FailPct = 0 // what is counted here must not fail by chance
	return k
}

// meet lets the agent's goroutine see what the test has set: time passes between the two, but that alone orders nothing.
func (k *kernel) meet() {
	k.mu.Lock()
	defer k.mu.Unlock()
}

func (k *kernel) agent(t *testing.T, c Config) *Agent {
	a, err := New(c)
	require.NoError(t, err)
	a.routes = k
	a.flows.table = &table{}
	return a
}

func (k *kernel) Read(ctx context.Context) (*rules.State, error) {
	k.meet()
	k.reads++
	return k.Fake.Read(ctx)
}

func (k *kernel) Apply(ctx context.Context, p *rules.Plan) error {
	k.meet()
	k.applies++
	k.events = append(k.events, "rules")
	time.Sleep(k.slow)
	if k.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	k.meet()
	if err := k.fail(); err != nil {
		k.failing++
		return err
	}
	return k.Fake.Apply(ctx, p)
}

func (k *kernel) Watch(ctx context.Context, changed func(rules.Foreign)) error {
	k.changed = changed
	return k.Fake.Watch(ctx, changed)
}

func (k *kernel) remove(want []netip.Prefix) error {
	k.meet()
	before := len(k.routed)
	k.routed = slices.DeleteFunc(slices.Clone(k.routed), func(p netip.Prefix) bool { return !slices.Contains(want, p) })
	if len(k.routed) < before {
		k.events = append(k.events, "routes go")
	}
	return nil
}

func (k *kernel) add(want []netip.Prefix) error {
	k.meet()
	if k.noRoute != nil {
		return k.noRoute
	}
	if len(want) > len(k.routed) {
		k.events = append(k.events, "routes come")
	}
	k.routed = slices.Clone(want)
	return nil
}

func (k *kernel) watch(ctx context.Context, _ func()) error {
	k.watches++
	if k.deaf > 0 {
		k.deaf--
		return errors.New("notices were lost")
	}
	<-ctx.Done()
	return nil
}

func (k *kernel) doubt() { k.doubts++ }

// since returns the events since the last call.
func (k *kernel) since() []string {
	out := k.events
	k.events = nil
	return out
}

// holds are the frontends in the kernel, with the number of slots of each.
func (n *node) holds() map[string]int {
	n.t.Helper()
	state, err := n.kernel.Fake.Read(context.Background())
	require.NoError(n.t, err)
	out := map[string]int{}
	for f, p := range state.Placed {
		out[f.String()] = p.Size
	}
	return out
}

// history makes snapshots, one after the other.
type history struct {
	draft    *cluster.Draft
	revision int64
}

func newHistory() *history {
	h := &history{draft: cluster.NewDraft()}
	h.draft.Ready(true)
	return h
}

// service publishes service NUMBER at 10.10.1.NUMBER:80 with so many instances; -1 withdraws it.
func (h *history) service(number, instances int) *history {
	return h.publish(number, instances, func(*cluster.Service) {})
}

// sleeper publishes a service that may sleep.
func (h *history) sleeper(number, instances int) *history {
	return h.publish(number, instances, rulestest.Sleeper)
}

func (h *history) publish(number, instances int, change func(*cluster.Service)) *history {
	h.revision++
	name := fmt.Sprintf("s%d", number)
	if instances < 0 {
		h.draft.Service(name, nil)
		return h
	}
	s := &cluster.Service{
		Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, byte(1 + number>>8), byte(number)})},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, CreateRevision: h.revision, ModRevision: h.revision,
	}
	change(s)
	for i := range instances {
		instance, err := cluster.ParseInstance(fmt.Sprintf("192.168.10.%d:80", 1+i))
		if err != nil {
			panic(err)
		}
		s.Instances = append(s.Instances, instance)
	}
	h.draft.Service(name, s)
	return h
}

func (h *history) snapshot() *cluster.Snapshot {
	h.revision++
	return h.draft.Snapshot(h.revision)
}

// log is what was logged.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
