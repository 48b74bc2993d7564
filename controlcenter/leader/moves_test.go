package leader_test

import (
	"context"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/loadmon"
)

// launchers do at once what they are told.
type launchers struct {
	ops *cluster.Operations // nil: there are none
}

func (m *memory) WatchOperations(ctx context.Context, fn func(*cluster.Operations)) error {
	for {
		m.mu.Lock()
		changed, told := m.changed, m.operations()
		m.mu.Unlock()
		if told != nil {
			fn(told)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// operations are a copy; all nodes have applied everything.
func (m *memory) operations() *cluster.Operations {
	if m.ops == nil {
		return nil
	}
	out := *m.ops
	out.Revision, out.Applied = m.last, map[string]cluster.Applied{}
	out.Assigned, out.Launched = map[string]map[string]cluster.Assignment{}, map[string]map[string]cluster.Launched{}
	out.Ports = map[string]map[uint16]cluster.PortClaim{}
	for node := range m.ops.Launchers {
		out.Applied[node] = cluster.Applied{Revision: m.last, FlowsRevision: m.last}
		out.Assigned[node], out.Launched[node] = maps.Clone(m.ops.Assigned[node]), maps.Clone(m.ops.Launched[node])
		out.Ports[node] = maps.Clone(m.ops.Ports[node])
	}
	out.Moved = maps.Clone(m.ops.Moved)
	return &out
}

func (m *memory) launch(d *cluster.Draft, decision cluster.Decision, at int64) {
	switch w := decision.(type) {
	case cluster.Assign:
		a, phase := w.Assignment, cluster.PhaseReady
		for _, port := range w.Claims {
			m.ops.Ports[w.Node][port] = cluster.PortClaim{Service: a.Service, ID: w.ID}
		}
		m.ops.Assigned[w.Node][w.ID] = a
		shown := &cluster.Instance{Addr: a.Address, Port: a.Ports[""], Weight: 1, Draining: a.Wanted == cluster.WantDrained}
		if a.Wanted == cluster.WantStopped {
			phase, shown = cluster.PhaseStopped, nil
		}
		m.ops.Launched[w.Node][w.ID] = cluster.Launched{Service: a.Service, Phase: phase, Version: a.Version, Since: time.Now()}
		d.Instance(w.Node, a.Service, w.ID, shown)
	case cluster.Unassign:
		delete(m.ops.Assigned[w.Node], w.ID)
		delete(m.ops.Launched[w.Node], w.ID)
		for _, port := range w.Ports {
			delete(m.ops.Ports[w.Node], port)
		}
	case cluster.SetMoved:
		m.ops.Moved[w.Service] = *w.Moved
	case cluster.Acknowledge:
		d.Barrier(at)
	}
}

// heated is a leader of two nodes with launchers, which are as busy as a test says, and a service of two instances.
type heated struct {
	*world
	nodes nodes
	up    time.Time // their monitors' start
}

func inHeat(t *testing.T, run func(h *heated)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &heated{world: &world{t: t, store: newMemory()}, up: time.Now().Add(-time.Hour)}
		h.store.ops = &cluster.Operations{
			Alive: map[string]bool{}, Launchers: map[string]cluster.Launcher{}, Assigned: map[string]map[string]cluster.Assignment{},
			Launched: map[string]map[string]cluster.Launched{}, Moved: map[string]cluster.Moved{}, Ports: map[string]map[uint16]cluster.PortClaim{},
		}
		two := 2
		s := service("a", 0)
		s.Balance, s.Run, s.Replicas = "", &cluster.Run{Command: []string{"/bin/a"}}, &two
		h.store.change(func(d *cluster.Draft, _ int64) {
			d.Ready(true)
			for i, node := range []string{"n1", "n2"} {
				address := netip.AddrFrom4([4]byte{192, 168, 0, byte(i + 1)})
				d.Node(node, &cluster.Node{Addresses: []netip.Addr{address}, Monitor: "http://192.168.0.1:9647"})
				h.store.ops.Alive[node] = true
				h.store.ops.Launchers[node] = cluster.Launcher{Drivers: []string{"process"}, Ports: cluster.PortRange{From: 20000, To: 20099}, Address: address}
				h.store.ops.Assigned[node], h.store.ops.Launched[node] = map[string]cluster.Assignment{}, map[string]cluster.Launched{}
				h.store.ops.Ports[node] = map[uint16]cluster.PortClaim{}
			}
			d.Service("a", s)
		})
		h.busy(0.5, 0.3)
		h.begin()
		h.after(20 * time.Second)
		run(h)
		h.stop()
	})
}

func (h *heated) begin() {
	_, h.stop = lead(h.t, leader.Config{Store: h.store, Loads: &h.nodes, Interval: 5 * time.Second})
}

// busy lets the two nodes be so; each instance takes a tenth of its node.
func (h *heated) busy(cpu ...float64) {
	for i, node := range []string{"n1", "n2"} {
		h.nodes.set(node, func() (loadmon.Report, error) {
			var loads []loadmon.Load
			for id := range h.assigned(node) {
				loads = append(loads, loadmon.Load{Service: "a", Instance: id, Busy: 0.2, QuotaCPUs: 2})
			}
			now := time.Now()
			return loadmon.Report{Node: node, At: now, UptimeS: now.Sub(h.up).Seconds(), Host: loadmon.HostLoad{Processors: 4, CPU: cpu[i]}, Loads: loads}, nil
		})
	}
}

func (h *heated) assigned(node string) map[string]cluster.Assignment {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return maps.Clone(h.store.ops.Assigned[node])
}

func (h *heated) moved() (out []cluster.Event) {
	for _, e := range h.store.told() {
		if e.What == cluster.EventMoved {
			out = append(out, e)
		}
	}
	return out
}

func (h *heated) pause(paused bool) {
	h.store.change(func(d *cluster.Draft, _ int64) { d.Config(&cluster.Config{Paused: paused}) })
}

func TestABusyNodeIsRelieved(t *testing.T) {
	t.Parallel()
	inHeat(t, func(h *heated) {
		require.Len(t, h.assigned("n1"), 1)
		require.Len(t, h.assigned("n2"), 1)
		h.after(time.Minute)
		require.Empty(t, h.moved(), "nothing is hot")
		h.pause(true)
		h.busy(0.9, 0.3)
		h.after(time.Minute)
		require.Empty(t, h.moved(), "paused")
		h.pause(false)
		h.after(9 * time.Second)
		require.Empty(t, h.moved(), "not yet for three periods")
		h.after(12 * time.Second)
		require.Len(t, h.moved(), 1)
		e := h.moved()[0]
		require.Equal(t, 0.9, e.In["n1"]["busy"])
		require.InDelta(t, 0.8, e.Out["n1"]["busy"], 1e-9)
		require.InDelta(t, 0.4, e.Out["n2"]["busy"], 1e-9)
		require.Equal(t, "cc1", e.By)
		require.Contains(t, e.Reason, "node n1 was 90 % busy for 3 periods, and node n2 30 %")
		h.after(3 * time.Second)
		require.Empty(t, h.assigned("n1"))
		require.Len(t, h.assigned("n2"), 2)

		// Now it is the other way round, under another leader: the service has its pause.
		h.busy(0.3, 0.9)
		h.stop()
		h.begin()
		h.after(4*time.Minute + 30*time.Second)
		require.Len(t, h.moved(), 1, "not twice within five minutes")
		h.after(time.Minute)
		require.Len(t, h.moved(), 2)
	})
}

func TestNothingMovesOnOldFigures(t *testing.T) {
	t.Parallel()
	for name, falsify := range map[string]func(*loadmon.Report){
		"none of the node": func(r *loadmon.Report) { r.Host = loadmon.HostLoad{} },
		"old ones":         func(r *loadmon.Report) { r.At = r.At.Add(-time.Minute) },
		"of another node":  func(r *loadmon.Report) { r.Node = "n7" },
	} {
		for _, node := range []string{"n1", "n2"} {
			inHeat(t, func(h *heated) {
				h.busy(0.9, 0.3)
				honest := h.nodes.reports[node]
				h.nodes.set(node, func() (loadmon.Report, error) {
					r, err := honest()
					falsify(&r)
					return r, err
				})
				h.after(2 * time.Minute)
				require.Empty(t, h.moved(), "%s, from %s", name, node)
			})
		}
	}
}

// TestNoPingPong in an hour in which whoever has more is hot.
func TestNoPingPong(t *testing.T) {
	t.Parallel()
	inHeat(t, func(h *heated) {
		for range 360 {
			if n := len(h.assigned("n1")) - len(h.assigned("n2")); n > 0 {
				h.busy(0.95, 0.2)
			} else if n < 0 {
				h.busy(0.2, 0.95)
			} else {
				h.busy(0.9, 0.5)
			}
			h.after(10 * time.Second)
		}
		moved := h.moved()
		require.NotEmpty(t, moved)
		require.LessOrEqual(t, len(moved), 12)
		for i := range moved[1:] {
			require.GreaterOrEqual(t, moved[i+1].At.Sub(moved[i].At), 5*time.Minute)
		}
	})
}
