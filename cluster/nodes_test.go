package cluster_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// fleet is a service with one instance on each of n nodes.
func fleet(n int) *cluster.Draft {
	d := cluster.NewDraft()
	s := &cluster.Service{Name: "a", VIPs: []netip.Addr{addr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, CreateRevision: 1, ModRevision: 1}
	for i := range n {
		a := netip.AddrFrom4([4]byte{192, 168, 10, byte(i + 1)})
		s.Instances = append(s.Instances, cluster.Instance{ID: fmt.Sprintf("i%02d", i+1), Addr: a, Port: 80, Weight: 1})
		d.Node(nodeName(i), &cluster.Node{Addresses: []netip.Addr{a}})
	}
	d.Service("a", s)
	return d
}

func nodeName(i int) string { return fmt.Sprintf("n%02d", i+1) }

func down(d *cluster.Draft, nodes ...int) {
	for _, i := range nodes {
		d.Down(nodeName(i), &cluster.Down{Reason: "nobody reaches it", Since: since(i)})
	}
}

func verdicts(d *cluster.Draft, v cluster.Verdict, nodes ...int) {
	for _, i := range nodes {
		d.Health(nodeName(i), cluster.NodeHealth{"a": {fmt.Sprintf("i%02d", i+1): {Verdict: v, Reason: "timeout", Since: since(30 + i)}}})
	}
}

// What becomes of a service when nodes die, and when at the same time instances fail.
func TestNodesThatAreDown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		nodes int
		say   func(*cluster.Draft)
		want  map[cluster.Status]int
	}{
		{"1 of 2", 2, func(d *cluster.Draft) { down(d, 0) }, map[cluster.Status]int{cluster.IsDead: 1, cluster.Serving: 1}},
		{"1 of 3", 3, func(d *cluster.Draft) { down(d, 1) }, map[cluster.Status]int{cluster.IsDead: 1, cluster.Serving: 2}},
		{"4 of 10", 10, func(d *cluster.Draft) { down(d, 0, 1, 2, 3) }, map[cluster.Status]int{cluster.IsDead: 4, cluster.Serving: 6}},
		{"all: the service refuses", 3, func(d *cluster.Draft) { down(d, 0, 1, 2) }, map[cluster.Status]int{cluster.IsDead: 3}},
		{"4 of 10, and 3 of the other 6 fail: half is no panic", 10, func(d *cluster.Draft) {
			down(d, 0, 1, 2, 3)
			verdicts(d, cluster.Failing, 4, 5, 6)
		}, map[cluster.Status]int{cluster.IsDead: 4, cluster.IsFailing: 3, cluster.Serving: 3}},
		{"4 of 10, and 4 of the other 6 fail: these 4 are used, the dead are not", 10, func(d *cluster.Draft) {
			down(d, 0, 1, 2, 3)
			verdicts(d, cluster.Failing, 4, 5, 6, 7)
		}, map[cluster.Status]int{cluster.IsDead: 4, cluster.Panic: 4, cluster.Serving: 2}},
		{"what failed on a node that is down does not count as failing", 4, func(d *cluster.Draft) {
			down(d, 0, 1)
			verdicts(d, cluster.Failing, 0, 1, 2)
		}, map[cluster.Status]int{cluster.IsDead: 2, cluster.IsFailing: 1, cluster.Serving: 1}},
		{"dead by verdict and by node", 4, func(d *cluster.Draft) {
			down(d, 0)
			verdicts(d, cluster.Dead, 0, 1)
		}, map[cluster.Status]int{cluster.IsDead: 2, cluster.Serving: 2}},
		{"at most a third of those left is ejected", 10, func(d *cluster.Draft) {
			down(d, 0, 1, 2, 3)
			e := map[string]cluster.Ejection{}
			for i := range 10 {
				e[fmt.Sprintf("i%02d", i+1)] = cluster.Ejection{Since: since(i)}
			}
			d.Weights("a", &cluster.Weights{Ejected: e})
		}, map[cluster.Status]int{cluster.IsDead: 4, cluster.Ejected: 2, cluster.Serving: 4}},
		{"the last one is never ejected", 2, func(d *cluster.Draft) {
			down(d, 0)
			d.Weights("a", &cluster.Weights{Ejected: map[string]cluster.Ejection{"i02": {}}})
		}, map[cluster.Status]int{cluster.IsDead: 1, cluster.Serving: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := fleet(test.nodes)
			test.say(d)
			got := map[cluster.Status]int{}
			for _, s := range resolved(t, d.Snapshot(1), "a").Instances {
				got[s.Status]++
				if !s.Takes() {
					require.NotEmpty(t, s.Reason, s.Instance.ID)
				}
				if s.Status == cluster.IsDead || s.Status == cluster.IsFailing || s.Status == cluster.Panic {
					require.False(t, s.Since.IsZero(), s.Instance.ID)
				}
			}
			require.Equal(t, test.want, got)
		})
	}
}

// A node that comes back brings the verdicts of its monitor along: they stay as they were until the monitor says otherwise.
func TestWhatIsNotKnownAnewStays(t *testing.T) {
	t.Parallel()
	d := fleet(3)
	verdicts(d, cluster.Failing, 0)
	before := resolved(t, d.Snapshot(1), "a")
	require.Equal(t, cluster.IsFailing, before.Instances[0].Status)
	down(d, 0)
	require.Equal(t, "node n01 is down: nobody reaches it", resolved(t, d.Snapshot(1), "a").Instances[0].Reason)
	d.Down(nodeName(0), nil)
	require.Equal(t, before.Instances, resolved(t, d.Snapshot(1), "a").Instances)
	d.Node(nodeName(0), &cluster.Node{Addresses: []netip.Addr{addr("192.168.10.1")}, Version: "newer"}) // its agent starts anew
	require.Equal(t, before.Instances, resolved(t, d.Snapshot(1), "a").Instances)
	d.Health(nodeName(0), nil)
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(1), "a").Instances[0].Status)
}

// A snapshot tells of nodes that are down also where nothing of ours runs, and earlier snapshots keep what they told.
func TestASnapshotTellsWhoIsDown(t *testing.T) {
	t.Parallel()
	d := fleet(2)
	empty := d.Snapshot(1)
	d.Down("elsewhere", &cluster.Down{Reason: "x"})
	full := d.Snapshot(2)
	d.Down("elsewhere", nil)
	require.Empty(t, empty.Down)
	require.Equal(t, map[string]*cluster.Down{"elsewhere": {Reason: "x"}}, full.Down)
	require.Empty(t, d.Snapshot(3).Down)
}
