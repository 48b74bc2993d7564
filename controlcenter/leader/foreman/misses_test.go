package foreman

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// desk takes what is written, but for what a test has it refuse.
type desk struct {
	revision int64
	taken    []cluster.Decision
	refuse   func(cluster.Decision) error // nil: nothing is
}

func (d *desk) Write(_ context.Context, decisions ...cluster.Decision) (int64, error) {
	for _, one := range decisions {
		if d.refuse == nil {
			break
		}
		if err := d.refuse(one); err != nil {
			return 0, err
		}
	}
	d.revision++
	d.taken = append(d.taken, decisions...)
	return d.revision, nil
}

// plant is a cluster of the node n1, which launches.
func plant(launched ...string) (*cluster.Draft, *cluster.Operations) {
	d, address := cluster.NewDraft(), netip.MustParseAddr("192.168.10.1")
	d.Ready(true)
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{address}})
	for i, name := range launched {
		d.Service(name, &cluster.Service{
			Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, byte(i + 1)})}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
			Run: &cluster.Run{Command: []string{"/bin/a"}}, CreateRevision: 1, ModRevision: 1,
		})
	}
	return d, &cluster.Operations{
		Revision: 20, Alive: map[string]bool{"n1": true}, Applied: map[string]cluster.Applied{},
		Launchers: map[string]cluster.Launcher{"n1": {Drivers: []string{cluster.DriverProcess}, Ports: cluster.PortRange{From: 20000, To: 20099}, Address: address}},
		Assigned:  map[string]map[string]cluster.Assignment{"n1": {}}, Launched: map[string]map[string]cluster.Launched{"n1": {}},
	}
}

// follows has the number of a's instances follow its load.
func follows(d *cluster.Draft, scale cluster.Scale) {
	in, _ := d.Snapshot(1).Services.Get("a")
	next := *in.Service
	next.Scale, next.ModRevision = &scale, 2
	d.Service("a", &next)
}

func overseer(d *desk, s func() *cluster.Snapshot, ops *cluster.Operations) *Foreman {
	f := New(Config{Name: "cc1", Writer: d, Snapshot: s, Measured: func() map[string]map[string]loadmon.Measured { return nil }})
	f.hear(ops)
	return f
}

// Of one service nothing can be written, neither its number nor where it should run. The other one is started all the same.
func TestAServiceThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	draft, ops := plant("a", "b")
	follows(draft, cluster.Scale{Min: 1, Max: 3})
	s := draft.Snapshot(19)
	large := errors.New("it is too large")
	w := &desk{revision: 20, refuse: func(d cluster.Decision) error {
		switch d := d.(type) {
		case cluster.SetScaled:
			return fmt.Errorf("the number: %w", large)
		case cluster.Assign:
			if d.Assignment.Service == "a" {
				return fmt.Errorf("an instance: %w", large)
			}
		}
		return nil
	}}
	ops.Assigned["n1"]["c-1"] = cluster.Assignment{Service: "c", Wanted: cluster.WantStopped}
	ops.Launched["n1"]["c-1"] = cluster.Launched{Service: "c", Phase: cluster.PhaseCrashed, Crash: &cluster.Crash{At: time.Now(), How: "exit code 1", Count: 1}}
	f := overseer(w, func() *cluster.Snapshot { return s }, ops)
	err := f.once(t.Context())
	require.True(t, slices.ContainsFunc(w.taken, func(d cluster.Decision) bool {
		e, ok := d.(cluster.Event)
		return ok && e.What == cluster.EventCrashed
	}), "what ended elsewhere is told")
	require.ErrorContains(t, err, "the number: it is too large")
	require.ErrorContains(t, err, "an instance: it is too large")
	assigned := 0
	for _, d := range w.taken {
		if a, ok := d.(cluster.Assign); ok {
			require.Equal(t, "b", a.Assignment.Service)
			assigned++
		}
	}
	require.Equal(t, 1, assigned)
}

// Where it is etcd that takes nothing, not everything is tried.
func TestNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("s%02d", i))
	}
	for refusal, most := range map[error]int{errors.New("it is full"): mostMissed, cluster.ErrUnreachable: 1, cluster.ErrNotLeading: 1, cluster.ErrStale: 1} {
		draft, ops := plant(names...)
		s, tries := draft.Snapshot(19), 0
		w := &desk{refuse: func(cluster.Decision) error { tries++; return refusal }}
		err := overseer(w, func() *cluster.Snapshot { return s }, ops).once(t.Context())
		require.Equal(t, most, tries, refusal)
		if errors.Is(refusal, cluster.ErrStale) {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, refusal)
		}
	}
}

// A number that was refused, since an operator said something of another service, is decided again at once, and is not taken for
// growth that there was: within a while a service may only double.
func TestANumberThatWasRefusedIsDecidedAgain(t *testing.T) {
	t.Parallel()
	draft, ops := plant("a")
	follows(draft, cluster.Scale{Min: 2, Max: 40, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}})
	ops.Scaled = map[string]cluster.Scaled{"a": {Replicas: 10, ModRevision: 5}}
	measured := func(uptime time.Duration) map[string]map[string]loadmon.Measured {
		out := map[string]loadmon.Measured{}
		for i := range 10 {
			id := fmt.Sprintf("a-%d", i)
			out[id] = loadmon.Measured{
				Load: loadmon.Load{Service: "a", Instance: id, Connections: uint64(uptime / time.Millisecond), Active: 400, Busy: 0.5},
				Node: "n1", At: time.Now(), Uptime: uptime,
			}
		}
		return map[string]map[string]loadmon.Measured{"a": out}
	}
	for i := range 10 {
		id, port := fmt.Sprintf("a-%d", i), uint16(20000+i)
		draft.Instance("n1", "a", id, &cluster.Instance{Addr: netip.MustParseAddr("192.168.10.1"), Port: port, Weight: 1})
		ops.Assigned["n1"][id] = cluster.Assignment{Service: "a", Wanted: cluster.WantServing, Ports: map[string]uint16{"": port}}
		ops.Launched["n1"][id] = cluster.Launched{Service: "a", Phase: cluster.PhaseReady}
	}
	s := draft.Snapshot(19)
	var tried []int
	w := &desk{refuse: func(d cluster.Decision) error { // its revisions are seen already
		if set, ok := d.(cluster.SetScaled); ok {
			if tried = append(tried, set.Scaled.Replicas); len(tried) == 1 {
				return cluster.ErrStale
			}
		}
		return nil
	}}
	f := overseer(w, func() *cluster.Snapshot { return s }, ops)
	f.c.Interval = time.Hour
	said := measured(time.Hour)
	f.c.Measured = func() map[string]map[string]loadmon.Measured { return said }
	require.NoError(t, f.once(t.Context()))
	require.Empty(t, tried, "no figures yet")
	said = measured(time.Hour + 5*time.Second)
	f.Heard()
	require.NoError(t, f.once(t.Context()))
	require.Equal(t, []int{20}, tried)
	require.NoError(t, f.once(t.Context()))
	require.Equal(t, []int{20, 20}, tried)
}

// While no agent is in touch nobody tells that he has seen what was asked of all. What is waited for has an end all the same.
func TestNoAgentAnswers(t *testing.T) {
	t.Parallel()
	draft, ops := plant("a")
	ops.Alive = map[string]bool{}
	draft.Instance("n1", "a", "a-1", &cluster.Instance{Addr: netip.MustParseAddr("192.168.10.1"), Port: 20000, Weight: 1, Draining: true})
	ops.Assigned["n1"]["a-1"] = cluster.Assignment{
		Service: "a", Wanted: cluster.WantDrained, Since: time.Now().Add(-time.Minute), Ports: map[string]uint16{"": 20000}, Run: cluster.Run{Drain: cluster.Duration(time.Hour)},
	}
	ops.Launched["n1"]["a-1"] = cluster.Launched{Service: "a", Phase: cluster.PhaseReady}
	revision, w := int64(19), &desk{revision: 20}
	f := overseer(w, func() *cluster.Snapshot { return draft.Snapshot(revision) }, ops)
	require.NoError(t, f.once(t.Context()))
	require.IsType(t, cluster.Acknowledge{}, w.taken[0])
	require.Len(t, w.taken, 2, "and what it was decided from")
	require.NoError(t, f.once(t.Context()))
	require.Len(t, w.taken, 2, "once")
	revision = w.revision
	draft.Barrier(revision)
	require.NoError(t, f.once(t.Context()))
	require.Greater(t, len(w.taken), 2)
	stopped, ok := w.taken[2].(cluster.Assign)
	require.True(t, ok)
	require.Equal(t, cluster.WantStopped, stopped.Assignment.Wanted)
}
