package placement

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// world is a cluster whose launchers and agents do as they are told, second by second.
type world struct {
	t        require.TestingT
	now      time.Time
	revision int64
	draft    *cluster.Draft
	ops      cluster.Operations
	want     map[string]int
	services map[string]*cluster.Service
	state    State
	starts   time.Duration // how long an instance needs to be ready
	deaf     bool          // agents carry connections for ever
	refuses  map[string]string
	clock    time.Duration // of those nodes, beside the leader's
	heats    map[string]Heat
	shares   map[string]map[string]float64
	boots    time.Duration     // how long a machine needs to join; 0: for ever
	boot     cluster.Resources // that it has
	lacking  string            // a service that it refuses
	busy     map[string]uint16 // a port of each node that somebody else has
	actions  int               // ever
	events   []string
	problems []cluster.Problem
}

func newWorld(t require.TestingT, nodes int) *world {
	w := &world{
		t: t, now: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), draft: cluster.NewDraft(), want: map[string]int{}, services: map[string]*cluster.Service{},
		starts: 2 * time.Second, refuses: map[string]string{}, busy: map[string]uint16{},
	}
	w.draft.Ready(true)
	w.ops = cluster.Operations{
		Alive: map[string]bool{}, Applied: map[string]cluster.Applied{}, Launchers: map[string]cluster.Launcher{},
		Assigned: map[string]map[string]cluster.Assignment{}, Launched: map[string]map[string]cluster.Launched{}, Ports: map[string]map[uint16]cluster.PortClaim{},
		Scaled: map[string]cluster.Scaled{},
	}
	for i := range nodes {
		w.join(fmt.Sprintf("n%d", i+1), []string{"east", "west"}[i%2])
	}
	return w
}

func (w *world) join(node, zone string) {
	address := netip.AddrFrom4([4]byte{192, 168, 10, byte(len(w.ops.Alive) + 1)})
	w.draft.Node(node, &cluster.Node{Addresses: []netip.Addr{address}, Labels: map[string]string{"zone": zone}})
	w.ops.Alive[node] = true
	w.ops.Launchers[node] = cluster.Launcher{Drivers: []string{"process"}, Ports: cluster.PortRange{From: 20000, To: 20099}, Address: address}
	w.ops.Assigned[node], w.ops.Launched[node], w.ops.Ports[node] = map[string]cluster.Assignment{}, map[string]cluster.Launched{}, map[uint16]cluster.PortClaim{}
}

// equip changes what nodes can launch.
func (w *world) equip(change func(*cluster.Launcher), nodes ...string) {
	for _, node := range nodes {
		l := w.ops.Launchers[node]
		change(&l)
		w.ops.Launchers[node] = l
	}
}

// lose is that the store lost all of it but what launchers tell again.
func (w *world) lose() {
	for node := range w.ops.Assigned {
		clear(w.ops.Assigned[node])
		clear(w.ops.Ports[node])
	}
}

// publish a service of which so many are wanted; -1 withdraws it.
func (w *world) publish(name string, want int, change func(*cluster.Service)) {
	w.revision++
	if want < 0 {
		w.draft.Service(name, nil)
		delete(w.want, name)
		delete(w.services, name)
		w.ops.Scaled[name] = cluster.Scaled{Withdrawn: true, ModRevision: w.revision}
		return
	}
	s := &cluster.Service{Name: name, Ports: []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}}, Run: &cluster.Run{Command: []string{"/bin/" + name}}, ModRevision: w.revision}
	s.VIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, name[len(name)-1]})}
	if old := w.services[name]; old != nil {
		*s = *old
		if s.ModRevision = w.revision; old.Run != nil {
			run := *old.Run
			s.Run = &run
		}
	}
	if change != nil {
		change(s)
	}
	require.Empty(w.t, s.Validate(nil))
	w.services[name], w.want[name] = s, want
	w.draft.Service(name, s)
}

func (w *world) snapshot() *cluster.Snapshot { return w.draft.Snapshot(w.revision) }

// plan decides without doing.
func (w *world) plan() (State, []Action, []cluster.Problem) {
	ops := w.ops
	ops.Revision = w.revision + 1000 // of what no snapshot shows
	return Plan(w.state, Input{Now: w.now, Snapshot: w.snapshot(), Operations: &ops, Want: w.want, Hosts: w.heats, Shares: w.shares})
}

// second lets one pass.
func (w *world) second() {
	w.now = w.now.Add(time.Second)
	var actions []Action
	w.state, actions, w.problems = w.plan()
	for _, a := range actions {
		w.actions++
		if a.Event.What != "" {
			w.events = append(w.events, a.Event.What+" "+a.Event.Reason)
		}
		for _, d := range a.Decisions {
			w.carry(d)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(w.ops.Launchers)) {
		w.launch(node)
	}
	w.agents()
}

func (w *world) carry(d cluster.Decision) {
	w.revision++
	switch d := d.(type) {
	case cluster.Assign:
		for _, port := range d.Claims {
			_, taken := w.ops.Ports[d.Node][port]
			require.False(w.t, taken, "port %d of %s is claimed twice", port, d.Node)
			w.ops.Ports[d.Node][port] = cluster.PortClaim{Service: d.Assignment.Service, ID: d.ID, Since: w.now}
		}
		if len(d.Claims) > 0 {
			require.NotContains(w.t, w.ops.Assigned[d.Node], d.ID, "an id is used twice")
		}
		w.ops.Assigned[d.Node][d.ID] = d.Assignment
	case cluster.Unassign:
		delete(w.ops.Assigned[d.Node], d.ID)
		if d.Forgotten {
			delete(w.ops.Launched[d.Node], d.ID)
		}
		for _, port := range d.Ports {
			w.ops.Ports[d.Node][port] = cluster.PortClaim{Service: d.Service, Since: d.Since, Revision: d.Revision, Busy: port == d.Busy}
		}
	case cluster.FreePort:
		delete(w.ops.Ports[d.Node], d.Port)
	case cluster.Buried:
		require.True(w.t, w.ops.Scaled[d.Service].Withdrawn)
		delete(w.ops.Scaled, d.Service)
	case cluster.Acknowledge:
		w.draft.Barrier(w.revision)
	case cluster.ForgetNode:
		w.draft.Node(d.Node, nil)
	case cluster.SetMoved:
		if w.ops.Moved == nil {
			w.ops.Moved = map[string]cluster.Moved{}
		}
		w.ops.Moved[d.Service] = *d.Moved
	case cluster.SetCalled:
		w.draft.Called(d.Service, d.Called)
	default:
		require.FailNow(w.t, fmt.Sprintf("%T", d))
	}
}

// launch is a node's launcher.
func (w *world) launch(node string) {
	for id, l := range w.ops.Launched[node] {
		if _, assigned := w.ops.Assigned[node][id]; !assigned && (l.Phase == cluster.PhaseStopped || l.Phase == cluster.PhaseRefused) {
			delete(w.ops.Launched[node], id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.ops.Assigned[node])) {
		a := w.ops.Assigned[node][id]
		l, known := w.ops.Launched[node][id]
		if a.Kind == cluster.KindNode {
			w.ops.Launched[node][id] = w.rent(node, id, a, l)
			continue
		}
		switch {
		case a.Wanted == cluster.WantStopped && l.Phase == cluster.PhaseRefused:
		case a.Wanted == cluster.WantStopped:
			if l.Phase != cluster.PhaseStopped {
				w.register(node, id, a, false)
				l = cluster.Launched{Service: a.Service, Version: a.Version, Phase: cluster.PhaseStopped, Since: w.now}
			}
		case !known && w.refuses[node] == a.Service:
			l = cluster.Launched{Service: a.Service, Version: a.Version, Phase: cluster.PhaseRefused, Problem: &cluster.Problem{Object: "instance " + id, What: "not permitted"}, Since: w.now.Add(w.clock)}
		case !known && slices.Contains(slices.Collect(maps.Values(a.Ports)), w.busy[node]):
			l = cluster.Launched{Service: a.Service, Version: a.Version, Phase: cluster.PhaseRefused, PortBusy: w.busy[node], Since: w.now}
		case !known:
			l = cluster.Launched{Service: a.Service, Version: a.Version, Phase: cluster.PhaseStarting, Since: w.now}
		case l.Phase == cluster.PhaseStarting && w.now.Sub(l.Since) >= w.starts:
			l = cluster.Launched{Service: a.Service, Version: a.Version, Phase: cluster.PhaseReady, Since: w.now}
			w.register(node, id, a, true)
		case l.Phase == cluster.PhaseReady:
			w.register(node, id, a, true)
		}
		w.ops.Launched[node][id] = l
	}
}

func (w *world) register(node, id string, a cluster.Assignment, there bool) {
	w.revision++
	if !there {
		w.draft.Instance(node, a.Service, id, nil)
		return
	}
	w.draft.Instance(node, a.Service, id, &cluster.Instance{
		ID: id, Addr: a.Address, Ports: a.Ports, Weight: 1, Node: node, Standby: a.Wanted == cluster.WantStandby, Draining: a.Wanted == cluster.WantDrained,
	})
}

// agents acknowledge what there is.
func (w *world) agents() {
	for node, alive := range w.ops.Alive {
		if !alive {
			continue
		}
		a := cluster.Applied{Revision: w.revision, FlowsRevision: w.revision, Flows: map[string]int{}}
		if w.deaf {
			for _, assigned := range w.ops.Assigned {
				for id, one := range assigned {
					a.Flows[one.Service+"/"+id] = 1
				}
			}
		}
		w.ops.Applied[node] = a
	}
}

// settle lets time pass until nothing is done any more.
func (w *world) settle(most time.Duration, each func()) {
	calm := 0
	for range int(most / time.Second) {
		before := w.actions
		w.second()
		w.sound()
		if each != nil {
			each()
		}
		if calm++; w.actions != before {
			calm = 0
		}
		if calm > int(w.starts/time.Second)+3 {
			return
		}
	}
	require.FailNow(w.t, "it does not settle", "%v", w.events[max(0, len(w.events)-10):])
}

// sound checks what must hold at any moment.
func (w *world) sound() {
	for node, assigned := range w.ops.Assigned {
		ports := map[uint16]string{}
		for id, a := range assigned {
			port, listens := a.Ports["web"]
			if !listens || a.Run.Driver == cluster.DriverExternal {
				continue // it was found, and is only to be stopped; or it listens elsewhere
			}
			require.Empty(w.t, ports[port], "port %d of node %s is given to %s and %s", port, node, id, ports[port])
			ports[port] = id
			require.Equal(w.t, id, w.ops.Ports[node][port].ID)
		}
	}
}

// serving is how many take new connections.
func (w *world) serving(service string) int { return len(w.takes(service)) }

// takes are those that do, by id.
func (w *world) takes(service string) (ids []string) {
	in, ok := w.snapshot().Services.Get(service)
	if !ok {
		return nil
	}
	for _, s := range cluster.Resolve(in).Instances {
		if s.Takes() {
			ids = append(ids, s.Instance.ID)
		}
	}
	return ids
}

func addressesOf(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// hosts is how many instances of a service each node is to keep, by what is wanted of them.
func (w *world) hosts(service string, wanted ...cluster.Wanted) map[string]int {
	out := map[string]int{}
	for node, assigned := range w.ops.Assigned {
		for _, a := range assigned {
			if a.Service == service && a.Kind == cluster.KindInstance && (len(wanted) == 0 || slices.Contains(wanted, a.Wanted)) {
				out[node]++
			}
		}
	}
	return out
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func (w *world) told(what string) (n int) {
	for _, e := range w.events {
		if strings.Contains(e, what) {
			n++
		}
	}
	return n
}

// fail kills a node; revive brings it back as it was.
func (w *world) fail(node string) {
	w.revision++
	w.ops.Alive[node] = false
	delete(w.ops.Launchers, node)
	w.draft.Down(node, &cluster.Down{Since: w.now})
}

func (w *world) revive(node string, l cluster.Launcher) {
	w.revision++
	w.ops.Alive[node], w.ops.Launchers[node] = true, l
	w.draft.Down(node, nil)
}

// sick gives an instance a verdict.
func (w *world) sick(node, service, id string, h *cluster.Health) {
	w.revision++
	if h == nil {
		w.draft.Health(node, nil)
		return
	}
	w.draft.Health(node, cluster.NodeHealth{service: {id: *h}})
}
