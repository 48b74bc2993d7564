package keep

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/leaks"
	"github.com/weir-lb/weir/launcher"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// store is etcd as the Keeper sees it.
type store struct {
	assignments chan map[string]cluster.Assignment

	mu         sync.Mutex
	away       bool
	launched   map[string]cluster.Launched
	registered map[string]cluster.Instance
	order      []string // what was written of instances, in order
}

func (s *store) WatchAssigned(ctx context.Context, _ string, fn func(map[string]cluster.Assignment, []cluster.Problem)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-s.assignments:
			fn(a, nil)
		}
	}
}

func (s *store) Launching(ctx context.Context, _ string, _ cluster.Launcher) error {
	<-ctx.Done()
	return nil
}

var errAway = errors.New("etcd is away")

func (s *store) write(what string, do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	s.order = append(s.order, what)
	do()
	return nil
}

func (s *store) Launched(_ context.Context, _, id string, l *cluster.Launched) error {
	if l == nil {
		return s.write("forget "+id, func() { delete(s.launched, id) })
	}
	return s.write(string(l.Phase)+" "+id, func() { s.launched[id] = *l })
}

func (s *store) Introduce(ctx context.Context, node, id string, l cluster.Launched) error {
	s.mu.Lock()
	_, there := s.launched[id]
	s.mu.Unlock()
	if there {
		return nil
	}
	return s.Launched(ctx, node, id, &l)
}

func (s *store) Register(_ context.Context, node, _, id string, i *cluster.Instance) error {
	if i == nil {
		return s.write("hide "+id, func() { delete(s.registered, id) })
	}
	return s.write("show "+id, func() { s.registered[id] = *i })
}

// driver runs instances in name only.
type driver struct {
	mu      sync.Mutex
	there   map[string]*launcher.Status
	refuse  map[string]error // by id, what Ensure says
	starts  map[string]int
	stops   []string
	stopErr error
	blind   error
	slow    time.Duration // how long an end takes
	lag     time.Duration // how long a look takes, which finds what was there when it began
	differs bool          // what is there was started by another Spec
}

func (d *driver) Ensure(_ context.Context, spec launcher.Spec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refuse[spec.ID]; err != nil {
		return err
	}
	if d.differs && d.there[spec.ID] != nil {
		return launcher.ErrDiffers
	}
	if st := d.there[spec.ID]; st != nil && st.State == launcher.Running {
		return nil
	}
	d.starts[spec.ID]++
	var exits []launcher.Exit
	if st := d.there[spec.ID]; st != nil {
		exits = st.Exits
	}
	d.there[spec.ID] = &launcher.Status{ID: spec.ID, Service: spec.Service, State: launcher.Running, PID: 100 + d.starts[spec.ID], Started: time.Now(), Starts: d.starts[spec.ID], Exits: exits}
	return nil
}

func (d *driver) Stop(_ context.Context, id string, _ time.Duration) error {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	time.Sleep(slow) // of the bubble
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopErr != nil {
		return d.stopErr
	}
	if d.there[id] != nil {
		d.stops = append(d.stops, id)
		delete(d.there, id)
	}
	return nil
}

func (d *driver) List(context.Context) ([]launcher.Status, error) {
	d.mu.Lock()
	lag, err := d.lag, d.blind
	var out []launcher.Status
	for _, id := range slices.Sorted(maps.Keys(d.there)) {
		out = append(out, *d.there[id])
	}
	d.mu.Unlock()
	time.Sleep(lag) // of the bubble
	if err != nil {
		return nil, err
	}
	return out, nil
}

// kill ends an instance.
func (d *driver) kill(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := *d.there[id]
	st.State, st.PID = launcher.Exited, 0
	st.Exits = append(slices.Clone(st.Exits), launcher.Exit{At: time.Now(), Code: 3})
	st.Output = []string{"out of luck"}
	d.there[id] = &st
}

// node is a Keeper with fakes around it, in a bubble of its own time.
type node struct {
	*Keeper
	store  *store
	driver *driver
	unwell map[netip.AddrPort]bool
	mu     sync.Mutex
	end    func()
}

func inBubble(t *testing.T, test func(*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newDriver(), nil)
		defer n.end()
		test(n)
	})
}

func newDriver() *driver {
	return &driver{there: map[string]*launcher.Status{}, refuse: map[string]error{}, starts: map[string]int{}}
}

// newNode has a driver; another one in its place may stand before it.
func newNode(t *testing.T, d *driver, before launcher.Driver, change ...func(*Config)) *node {
	t.Helper()
	if before == nil {
		before = d
	}
	n := &node{
		store:  &store{assignments: make(chan map[string]cluster.Assignment), launched: map[string]cluster.Launched{}, registered: map[string]cluster.Instance{}},
		driver: d, unwell: map[netip.AddrPort]bool{},
	}
	c := Config{Node: "n1", Drivers: map[string]launcher.Driver{"process": before}, Store: n.store, Probe: n.probe, Self: cluster.Launcher{Ports: cluster.PortRange{From: 20000, To: 29999}}}
	for _, do := range change {
		do(&c)
	}
	k, err := New(c)
	require.NoError(t, err)
	n.Keeper = k
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	synctest.Wait() // it has looked once
	n.end = func() {
		cancel()
		require.NoError(t, <-ended, "Run returns nil when cancelled")
	}
	return n
}

func (n *node) probe(_ context.Context, _ *cluster.Check, at netip.AddrPort) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unwell[at] {
		return errors.New("connection refused")
	}
	return nil
}

// well says whether what listens at a port answers.
func (n *node) well(port uint16, well bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unwell[netip.AddrPortFrom(home, port)] = !well
}

var home = netip.MustParseAddr("192.168.10.1")

func (n *node) assign(a map[string]cluster.Assignment) {
	n.store.assignments <- a
	n.after(2 * time.Second)
}

func (n *node) after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func (n *node) phase(id string) cluster.Phase {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	return n.store.launched[id].Phase
}

func (n *node) shown(id string) (cluster.Instance, bool) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	i, ok := n.store.registered[id]
	return i, ok
}

// told is what the store was told last of an instance.
func (n *node) told(id string) cluster.Launched {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	return n.store.launched[id]
}

// order is all that the store was told so far, in order.
func (n *node) order() []string {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	return slices.Clone(n.store.order)
}

// registered is how many the nodes see.
func (n *node) registered() int {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	return len(n.store.registered)
}

// etcd changes how the store is.
func (n *node) etcd(change func(*store)) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	change(n.store)
}

// host changes how the driver is.
func (n *node) host(change func(*driver)) {
	n.driver.mu.Lock()
	defer n.driver.mu.Unlock()
	change(n.driver)
}

// stops are the instances that were ended, in order.
func (n *node) stops() []string {
	n.driver.mu.Lock()
	defer n.driver.mu.Unlock()
	return slices.Clone(n.driver.stops)
}

func (n *node) starts(id string) int {
	n.driver.mu.Lock()
	defer n.driver.mu.Unlock()
	return n.driver.starts[id]
}

// assigned is one instance of service a at a port.
func assigned(port uint16, w cluster.Wanted) cluster.Assignment {
	return cluster.Assignment{Service: "a", Run: cluster.Run{Command: []string{"/bin/a"}}, Address: home, Ports: map[string]uint16{"": port}, Wanted: w, Version: "v1"}
}
