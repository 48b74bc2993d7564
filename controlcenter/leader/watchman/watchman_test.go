package watchman

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

type deniedStore struct{}

func (deniedStore) WatchApplied(context.Context, func(map[string]bool, map[string]cluster.Applied) bool) error {
	return cluster.ErrDenied
}

func (deniedStore) Gone(context.Context) (map[string]cluster.Gone, error) { return nil, nil }

// Who may not see which nodes are alive cannot lead: somebody else may.
func TestWhoMaySeeNothingCannotWatch(t *testing.T) {
	t.Parallel()
	w := New(Config{Store: deniedStore{}, Snapshot: func() *cluster.Snapshot { return nil }})
	require.ErrorIs(t, w.Run(t.Context()), cluster.ErrDenied)
}

// answers is what each looker says: a map, or an error.
type lookerFunc func(node string) (map[netip.AddrPort]bool, error)

func (f lookerFunc) Look(_ context.Context, node string, _ *cluster.Node, _ []netip.AddrPort) (map[netip.AddrPort]bool, error) {
	return f(node)
}

func TestLook(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.1:81")
	d := cluster.NewDraft()
	for _, name := range []string{"n2", "n3", "n4"} {
		d.Node(name, &cluster.Node{})
	}
	snapshot := d.Snapshot(1)
	silent, failed := map[netip.AddrPort]bool{a: false, b: false}, errors.New("refused")
	for _, test := range []struct {
		name string
		says map[string]any
		want Looked
	}{
		{"both are silent", map[string]any{"n2": silent, "n3": silent}, Looked{Silent: []string{"n2", "n3"}}},
		{"one of the addresses answers one of the lookers", map[string]any{"n2": silent, "n3": map[netip.AddrPort]bool{a: false, b: true}}, Looked{Answered: "10.0.0.1:81 answers n3"}},
		{"the next for who cannot", map[string]any{"n2": failed, "n3": silent, "n4": silent}, Looked{Silent: []string{"n3", "n4"}}},
		{"who knows none of the instances cannot", map[string]any{"n2": map[netip.AddrPort]bool{}, "n3": silent, "n4": failed}, Looked{Silent: []string{"n3"}}},
		{"nobody can", map[string]any{"n2": failed, "n3": failed, "n4": failed}, Looked{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(Config{Looker: lookerFunc(func(node string) (map[netip.AddrPort]bool, error) {
				switch says := test.says[node].(type) {
				case error:
					return nil, says
				case map[netip.AddrPort]bool:
					copied := map[netip.AddrPort]bool{}
					for k, v := range says {
						copied[k] = v
					}
					return copied, nil
				}
				t.Errorf("%s was not to be asked", node)
				return nil, failed
			})})
			got := w.look(t.Context(), Look{Node: "n1", Number: 7, Lookers: []string{"n2", "n3", "n4"}, Need: 2}, snapshot, []netip.AddrPort{a, b})
			test.want.Node, test.want.Number = "n1", 7
			if test.want.Answered != "" {
				got.Silent = nil // who was quicker
			}
			require.Equal(t, test.want, got)
		})
	}
}

// The addresses of a look: those that take connections first; of many, others each time; nothing that is no TCP.
func TestAddresses(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	s := &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, CreateRevision: 1, ModRevision: 1,
		Ports: []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "dns", Port: 53, Protocol: cluster.UDP}}}
	for i := range 40 {
		s.Instances = append(s.Instances, cluster.Instance{ID: fmt.Sprintf("i%02d", i), Addr: netip.MustParseAddr("10.0.0.1"), Weight: 1,
			Ports: map[string]uint16{"web": uint16(8000 + i), "dns": uint16(5300 + i)}})
	}
	d.Service("a", s)
	d.Admin("a", "i00", &cluster.Admin{Drain: true})
	var h hosts
	h.follow(d.Snapshot(1))
	all := h.addresses("n1")
	require.Len(t, all, 40)
	require.Equal(t, "10.0.0.1:8001", all[0].String())
	require.Equal(t, "10.0.0.1:8000", all[39].String(), "drained: it comes last")
	seen := map[netip.AddrPort]bool{}
	for number := range 5 {
		chosen := some(all, number)
		require.Len(t, chosen, knocks)
		for _, a := range chosen {
			seen[a] = true
		}
	}
	require.Len(t, seen, 40)
	require.Equal(t, all[:3], some(all[:3], 7))
	require.Equal(t, []string{"a"}, h.services("n1"))
	d.Service("a", nil)
	h.follow(d.Snapshot(2))
	require.Empty(t, h.on)
	require.Empty(t, h.addresses("n1"))
}

func TestPartsHaveOneEventOfEachService(t *testing.T) {
	t.Parallel()
	var all []cluster.Decision
	for i := range 100 {
		all = append(all, cluster.Event{Service: fmt.Sprintf("s%d", i%37)}, cluster.SetGone{Node: "n1"})
	}
	n := 0
	for part := range parts(all) {
		require.LessOrEqual(t, len(part), batch)
		services := map[string]bool{}
		for _, d := range part {
			n++
			if e, ok := d.(cluster.Event); ok {
				require.False(t, services[e.Service])
				services[e.Service] = true
			}
		}
	}
	require.Len(t, all, n)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	m.told(Report{Alive: 3, Down: []string{"n4"}, Alarm: "x", Gone: map[string]cluster.Gone{"n5": {State: cluster.HeldBack}}})
	m.looked(Looked{Answered: "x"})
	families, err := r.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Len(t, families, 4)
}
