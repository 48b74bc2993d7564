package leader_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// presence is who is in touch with etcd: all nodes that are known, but for those that are absent.
type presence struct {
	absent map[string]bool
	gone   map[string]cluster.Gone
	frozen time.Time // since when it does not answer; zero: it does
}

func (m *memory) Answered() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen.IsZero() {
		return time.Now()
	}
	return m.frozen
}

func (m *memory) WatchApplied(ctx context.Context, fn func(map[string]bool, map[string]cluster.Applied) bool) error {
	for {
		m.mu.Lock()
		alive, changed := map[string]bool{}, m.changed
		for name := range m.draft.Snapshot(m.last).Nodes.All() {
			alive[name] = true
		}
		maps.DeleteFunc(alive, func(name string, _ bool) bool { return m.absent[name] })
		m.mu.Unlock()
		if fn(alive, nil) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (m *memory) Gone(context.Context) (map[string]cluster.Gone, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.gone), m.refuse
}

func (m *memory) refuseDown(d cluster.SetDown) error {
	if d.Down != nil && !m.absent[d.Node] {
		return cluster.ErrAlive
	}
	return nil
}

func (m *memory) record(g cluster.SetGone) {
	if m.gone == nil {
		m.gone = map[string]cluster.Gone{}
	}
	if delete(m.gone, g.Node); g.Gone != nil {
		m.gone[g.Node] = *g.Gone
	}
}

// leave ends the leases of nodes.
func (m *memory) leave(nodes ...string) {
	m.change(func(*cluster.Draft, int64) {
		m.absent = maps.Clone(m.absent)
		if m.absent == nil {
			m.absent = map[string]bool{}
		}
		for _, n := range nodes {
			m.absent[n] = true
		}
	})
}

// join is what an agent writes when it registers, in one transaction.
func (m *memory) join(node string) {
	m.change(func(d *cluster.Draft, _ int64) {
		delete(m.absent, node)
		d.Down(node, nil)
	})
}

func (m *memory) down() (out []string) {
	s, _ := m.Snapshot(context.Background())
	return slices.Sorted(maps.Keys(s.Down))
}

// wire is how nodes see each other's instances.
type wire struct {
	mu    sync.Mutex
	cut   map[string]bool // hosts that nobody reaches
	mute  map[string]bool // nodes whose monitors do not answer
	asked []string
}

func (x *wire) set(m *map[string]bool, names ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	*m = map[string]bool{}
	for _, n := range names {
		(*m)[n] = true
	}
}

func (x *wire) Look(_ context.Context, node string, _ *cluster.Node, addresses []netip.AddrPort) (map[netip.AddrPort]bool, error) {
	time.Sleep(10 * time.Millisecond)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, node)
	if x.mute[node] {
		return nil, errors.New("connection refused")
	}
	out := map[netip.AddrPort]bool{}
	for _, a := range addresses {
		out[a] = !x.cut[a.Addr().String()]
	}
	return out, nil
}

func speeds(n int) []float64 { return slices.Repeat([]float64{100}, n) }

const watched = 14 * time.Second // after which a new leader may conclude something

func TestADeadNodeIsOutAndBack(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		w.store.leave("n1")
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.after(2900 * time.Millisecond)
		require.Empty(t, w.store.down())
		w.after(600 * time.Millisecond)
		require.Equal(t, []string{"n1"}, w.store.down())
		require.Zero(t, w.store.share(id(1)))
		told := last(w, cluster.EventNodeDown)
		require.Equal(t, "node n1 is down: its agent has been gone from etcd for 3s, and its instances do not answer n2 and n3", told.Reason)
		require.Equal(t, []any{"a", "cc1"}, []any{told.Service, told.By})
		require.EqualValues(t, 1, w.metric("nodes_declared_down_total"))
		w.after(time.Second)
		require.Contains(t, page(t, w.leader.WriteNodes), `"down": [`)
		w.wire.set(&w.wire.cut)
		w.store.join("n1")
		w.after(time.Second)
		require.Positive(t, w.store.share(id(1)))
		require.Equal(t, "node n1 is back: its agent has registered", last(w, cluster.EventNodeUp).Reason)
		require.NotContains(t, page(t, w.leader.WriteNodes), "n1")
	})
}

// last is the newest event of a kind.
func last(w *world, what string) cluster.Event {
	w.t.Helper()
	events := slices.DeleteFunc(w.store.told(), func(e cluster.Event) bool { return e.What != what })
	require.NotEmpty(w.t, events, what)
	return events[len(events)-1]
}

func TestAnAgentIsStoppedForFiveMinutes(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		w.store.leave("n1")
		w.wire.set(&w.wire.mute, "n2") // one who looks is enough to see that it lives
		for range 5 * 60 {
			w.after(time.Second)
			require.Empty(t, w.store.down())
			require.Positive(t, w.store.share(id(1)))
		}
		require.Equal(t, cluster.Unwatched, w.store.gone["n1"].State)
		require.Equal(t, "its agent is not in touch with etcd, but 192.168.0.1:80 answers n3", w.store.gone["n1"].Reason)
		w.stop()
		w.start() // another leader goes on from what is recorded
		w.after(time.Second)
		require.Equal(t, cluster.Unwatched, w.store.gone["n1"].State)
		w.store.join("n1")
		w.after(time.Second)
		require.Empty(t, w.store.gone)
	})
}

func TestTooManyNodesAtOnce(t *testing.T) {
	inWorld(t, speeds(10), func(w *world) {
		w.after(watched)
		w.store.leave("n1", "n2", "n3", "n4", "n5", "n6")
		w.wire.set(&w.wire.cut, "192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.0.4", "192.168.0.5", "192.168.0.6")
		w.after(10 * time.Minute)
		require.Empty(t, w.store.down())
		require.Len(t, w.store.gone, 6)
		require.EqualValues(t, 1, w.metric("nodes_alarm"))
		require.Contains(t, page(t, w.leader.WriteProblems), "nodes: 6 of 10 nodes that host instances are gone at once")
		require.Contains(t, last(w, cluster.EventNodesGone).Reason, "6 of 10 nodes")
		require.Equal(t, 1, strings.Count(w.log.String(), "too many nodes are gone at once"))
	})
}

func TestNobodyCanLookAtAServiceOfDatagrams(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.from(func(s *cluster.Service) { s.Ports = []cluster.Port{{Port: 80, Protocol: cluster.UDP}} })
		w.after(watched)
		w.store.leave("n1")
		w.after(time.Minute)
		require.Empty(t, w.store.down())
		require.Equal(t, "none of its instances has a TCP port at which other nodes could knock", w.store.gone["n1"].Reason)
		require.Empty(t, w.wire.asked)
	})
}

// Those who cannot look are replaced by others.
func TestLookersAreReplaced(t *testing.T) {
	inWorld(t, speeds(6), func(w *world) {
		w.after(watched)
		w.wire.set(&w.wire.mute, "n2", "n3")
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(10 * time.Second)
		require.Equal(t, []string{"n1"}, w.store.down())
		s, _ := w.store.Snapshot(t.Context())
		require.NotContains(t, s.Down["n1"].Reason, "n2")
		require.NotContains(t, s.Down["n1"].Reason, "n3")
	})
}

// With two others of which one does not answer the leader, the other's word alone takes nobody out.
func TestOneLookIsNotEnoughWhereTwoCould(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		w.wire.set(&w.wire.mute, "n2")
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(time.Minute)
		require.Empty(t, w.store.down())
		require.Equal(t, "its instances do not answer the only load monitor that could be asked, and one is not enough", w.store.gone["n1"].Reason)
		w.wire.set(&w.wire.mute)
		w.after(10 * time.Second)
		require.Equal(t, []string{"n1"}, w.store.down())
	})
}

func TestEtcdAwayMakesNobodyGone(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.mu.Lock()
		w.store.frozen = time.Now()
		w.store.mu.Unlock()
		w.store.leave("n1")
		w.after(30 * time.Second)
		require.Empty(t, w.store.down())
		require.Contains(t, page(t, w.leader.WriteNodes), `"watching": false`)
		w.store.mu.Lock()
		w.store.frozen = time.Time{}
		w.store.mu.Unlock()
		w.after(watched - 2*time.Second)
		require.Empty(t, w.store.down())
		w.after(5 * time.Second)
		require.Equal(t, []string{"n1"}, w.store.down())
	})
}

// A write that fails is tried again, and takes nothing else along.
func TestAFailedWriteIsRepeated(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.store.mu.Lock()
		w.store.refuse = errors.New("no space")
		w.store.mu.Unlock()
		w.after(10 * time.Second)
		require.Empty(t, w.store.down())
		require.Contains(t, w.log.String(), "declare node n1 down: no space")
		w.store.mu.Lock()
		w.store.refuse = nil
		w.store.mu.Unlock()
		w.after(80 * time.Second) // the attempt counted
		require.Equal(t, []string{"n1"}, w.store.down())
	})
}

// A node with more services than fit into one transaction: each is told.
func TestEveryServiceIsTold(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.store.change(func(d *cluster.Draft, revision int64) {
			for i := range 70 {
				s := *w.service
				s.Name, s.VIPs, s.CreateRevision, s.ModRevision = fmt.Sprintf("s%d", i), []netip.Addr{netip.AddrFrom4([4]byte{10, 20, 0, byte(i)})}, revision, revision
				d.Service(s.Name, &s)
			}
		})
		w.after(watched)
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(10 * time.Second)
		services := map[string]bool{}
		for _, e := range w.store.told() {
			if e.What == cluster.EventNodeDown {
				services[e.Service] = true
			}
		}
		require.Len(t, services, 71)
	})
}

// What the leader before recorded is read first; until that works nothing is concluded.
func TestTheRecordsCannotBeRead(t *testing.T) {
	inWorld(t, speeds(3), func(w *world) {
		w.stop()
		w.store.mu.Lock()
		w.store.refuse = errors.New("no space")
		w.store.mu.Unlock()
		w.start()
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(time.Minute)
		require.Empty(t, w.store.down())
		require.Contains(t, w.log.String(), `msg="cannot look after the nodes" err="no space"`)
		w.store.mu.Lock()
		w.store.refuse = nil
		w.store.mu.Unlock()
		w.after(watched + 3*time.Second)
		require.Equal(t, []string{"n1"}, w.store.down())
	})
}
