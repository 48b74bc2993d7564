package cluster_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// keys is what a store would hold: the model that a Draft is compared with.
type keys struct {
	values   map[string]func(*cluster.Draft) // by key: the setter call that brings the value about
	created  map[string]int64                // of services
	revision int64
}

// Few names and few addresses, so that services contest frontends, instances are VIPs, and nodes share addresses.
var (
	names     = []string{"a", "b", "c"}
	nodeNames = []string{"n1", "n2", "n3", "n4"}
	ids       = []string{"i1", "i2", "192.168.0.1:80"}
	addresses = []netip.Addr{addr("192.168.0.1"), addr("192.168.0.2"), addr("192.168.0.3"), addr("10.10.0.1")}
	vips      = []netip.Addr{addr("10.10.0.1"), addr("10.10.0.2"), addr("192.168.0.1"), addr("127.0.0.1")}
)

func (k *keys) set(d *cluster.Draft, key string, call func(*cluster.Draft)) {
	k.revision++
	k.values[key] = call
	call(d)
}

func (k *keys) unset(d *cluster.Draft, key string, call func(*cluster.Draft)) {
	k.revision++
	delete(k.values, key)
	call(d)
}

// step draws one write of one key.
func (k *keys) step(t *rapid.T, d *cluster.Draft) {
	name, node := rapid.SampledFrom(names).Draw(t, "service"), rapid.SampledFrom(nodeNames).Draw(t, "node")
	id, gone := rapid.SampledFrom(ids).Draw(t, "id"), rapid.IntRange(0, 2).Draw(t, "gone") == 0
	small := rapid.IntRange(0, 2).Draw(t, "small")
	key, set, unset := "", func(*cluster.Draft) {}, func(*cluster.Draft) {}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1:
		key = "service " + name
		s := k.service(t, name, gone)
		set, unset = func(d *cluster.Draft) { d.Service(name, s) }, func(d *cluster.Draft) { d.Service(name, nil) }
	case 2:
		key = "instance " + node + name + id
		i := &cluster.Instance{Addr: rapid.SampledFrom(addresses).Draw(t, "addr"), Port: 80, Weight: small}
		set = func(d *cluster.Draft) { d.Instance(node, name, id, i) }
		unset = func(d *cluster.Draft) { d.Instance(node, name, id, nil) }
	case 3:
		key = "admin " + name + id
		set = func(d *cluster.Draft) {
			d.Admin(name, id, &cluster.Admin{Drain: small == 0, Reason: fmt.Sprint(small)})
		}
		unset = func(d *cluster.Draft) { d.Admin(name, id, nil) }
	case 4:
		key = "nodeadmin " + node
		set = func(d *cluster.Draft) { d.NodeAdmin(node, &cluster.NodeAdmin{Drain: small == 0}) }
		unset = func(d *cluster.Draft) { d.NodeAdmin(node, nil) }
	case 5:
		key = "weights " + name
		set = func(d *cluster.Draft) { d.Weights(name, &cluster.Weights{Share: map[string]int{id: small}}) }
		unset = func(d *cluster.Draft) { d.Weights(name, nil) }
	case 6:
		key = "health " + node
		h := cluster.NodeHealth{name: {id: {Verdict: []cluster.Verdict{cluster.Dead, cluster.Failing, cluster.Leaving}[small]}}}
		if other := rapid.SampledFrom(names).Draw(t, "other"); other != name {
			h[other] = map[string]cluster.Health{id: {Verdict: cluster.Failing}}
		}
		set, unset = func(d *cluster.Draft) { d.Health(node, h) }, func(d *cluster.Draft) { d.Health(node, nil) }
	case 7:
		key = "down " + node
		set = func(d *cluster.Draft) { d.Down(node, &cluster.Down{Reason: fmt.Sprint(small)}) }
		unset = func(d *cluster.Draft) { d.Down(node, nil) }
	case 8:
		key = "node " + node
		n := &cluster.Node{Addresses: rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 0, 2, rapid.ID).Draw(t, "addresses")}
		n.Monitor = []string{"", "http://192.168.0.1:9647"}[small%2]
		n.Labels = []map[string]string{nil, {cluster.ZoneLabel: "east"}, {cluster.ZoneLabel: "west"}}[small]
		set, unset = func(d *cluster.Draft) { d.Node(node, n) }, func(d *cluster.Draft) { d.Node(node, nil) }
	case 9:
		key = "config"
		c := &cluster.Config{Paused: small == 0}
		if small == 1 {
			c.NodeAddresses = map[string][]netip.Prefix{"n1": pfx("192.168.0.1/32"), "n2": pfx("192.168.0.2/32")}
		}
		set, unset = func(d *cluster.Draft) { d.Config(c) }, func(d *cluster.Draft) { d.Config(nil) }
	}
	if gone {
		k.unset(d, key, unset)
	} else {
		k.set(d, key, set)
	}
}

func (k *keys) service(t *rapid.T, name string, gone bool) *cluster.Service {
	if gone {
		delete(k.created, name)
		return nil
	}
	if k.created[name] == 0 {
		k.created[name] = k.revision + 1
	}
	s := &cluster.Service{
		Name: name, CreateRevision: k.created[name], ModRevision: k.revision + 1,
		VIPs:  rapid.SliceOfNDistinct(rapid.SampledFrom(vips), 0, 2, rapid.ID).Draw(t, "vips"),
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
	}
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 3, rapid.ID).Draw(t, "ids") {
		s.Instances = append(s.Instances, cluster.Instance{ID: id, Addr: rapid.SampledFrom(addresses).Draw(t, "addr"), Port: 80, Weight: 1})
	}
	return s
}

// scratch builds the present state in another order, as a list of the store would.
func (k *keys) scratch(t *rapid.T) *cluster.Snapshot {
	d := cluster.NewDraft()
	order := slices.Sorted(maps.Keys(k.values))
	if len(order) > 0 {
		order = rapid.Permutation(order).Draw(t, "order")
	}
	for _, key := range order {
		k.values[key](d)
	}
	return d.Snapshot(k.revision)
}

func services(s *cluster.Snapshot) map[string]*cluster.Inputs { return maps.Collect(s.Services.All()) }

func TestDraftIncrementalEqualsFromScratch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k, d := &keys{values: map[string]func(*cluster.Draft){}, created: map[string]int64{}}, cluster.NewDraft()
		last, held := d.Snapshot(0), map[string]*cluster.Inputs{}
		for range rapid.IntRange(1, 25).Draw(t, "snapshots") {
			for range rapid.IntRange(1, 4).Draw(t, "writes") {
				k.step(t, d)
			}
			next, want := d.Snapshot(k.revision), k.scratch(t)
			require.Equal(t, services(want), services(next))
			require.Equal(t, maps.Collect(want.Nodes.All()), maps.Collect(next.Nodes.All()))
			require.Equal(t, want.Config, next.Config)
			require.Equal(t, held, services(last), "a sealed snapshot never changes")
			for name, in := range services(next) {
				before, _ := last.Services.Get(name)
				require.Equal(t, reflect.DeepEqual(before, in), before == in, "the pointer of %s changes exactly when its value does", name)
			}
			last, held = next, services(next)
			for name, in := range held {
				copied := *in
				held[name] = &copied
			}
		}
	})
}

func resolved(t *testing.T, s *cluster.Snapshot, name string) *cluster.Resolved {
	t.Helper()
	in, ok := s.Services.Get(name)
	require.True(t, ok, "service %s", name)
	return cluster.Resolve(in)
}

func TestDraftContestedVIPGoesToTheOldestAndIsPassedOn(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	for i, name := range []string{"c", "b", "a"} {
		s := service(t, name, 1)
		s.CreateRevision, s.ModRevision = int64(10-i), int64(10-i) // a is the oldest, though set last
		d.Service(name, s)
	}
	holder := func(s *cluster.Snapshot) (who string) {
		for name := range s.Services.All() {
			if r := resolved(t, s, name); len(r.Frontends) > 0 {
				who += name
			} else {
				require.Len(t, r.Problems, 1)
			}
		}
		return who
	}
	require.Equal(t, "a", holder(d.Snapshot(1)))
	d.Service("a", nil)
	require.Equal(t, "b", holder(d.Snapshot(2)))
	moved := service(t, "b", 1)
	moved.CreateRevision, moved.ModRevision, moved.VIPs = 9, 20, []netip.Addr{addr("10.10.1.129")}
	d.Service("b", moved)
	s := d.Snapshot(3)
	require.Len(t, resolved(t, s, "b").Frontends, 1)
	require.Len(t, resolved(t, s, "c").Frontends, 1, "given up, so passed on")
}

func TestDraftInstanceThatBecomesAnothersVIP(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Service("a", service(t, "a", 2))
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(1), "a").Instances[0].Status)
	thief := service(t, "b", 0)
	thief.VIPs = []netip.Addr{addr("192.168.10.1")}
	d.Service("b", thief)
	r := resolved(t, d.Snapshot(2), "a")
	require.Equal(t, cluster.Refused, r.Instances[0].Status)
	require.Len(t, r.Targets(r.Frontends[0]), 1)
	d.Service("b", nil)
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(3), "a").Instances[0].Status)
}

func TestDraftHealth(t *testing.T) {
	t.Parallel()
	says := func(v cluster.Verdict) cluster.NodeHealth { return cluster.NodeHealth{"a": {"i01": {Verdict: v}}} }
	tests := []struct {
		name    string
		nodes   int
		beside  string // the node that has the instance's address
		reports map[string]cluster.NodeHealth
		want    cluster.Status
	}{
		{"its own node decides", 3, "n1", map[string]cluster.NodeHealth{"n1": says(cluster.Dead)}, cluster.IsDead},
		{"others are not asked when its own node is well", 3, "n1", map[string]cluster.NodeHealth{"n2": says(cluster.Dead), "n3": says(cluster.Dead)}, cluster.Serving},
		{"one of three observers is not enough", 3, "", map[string]cluster.NodeHealth{"n1": says(cluster.Dead)}, cluster.Serving},
		{"two of three are", 3, "", map[string]cluster.NodeHealth{"n1": says(cluster.Dead), "n3": says(cluster.Dead)}, cluster.IsDead},
		{"dead and failing make failing", 3, "", map[string]cluster.NodeHealth{"n1": says(cluster.Dead), "n3": says(cluster.Failing)}, cluster.IsFailing},
		{"two that leave make leaving", 3, "", map[string]cluster.NodeHealth{"n1": says(cluster.Leaving), "n3": says(cluster.Leaving)}, cluster.IsLeaving},
		{"leaving and dead make failing", 3, "", map[string]cluster.NodeHealth{"n1": says(cluster.Leaving), "n3": says(cluster.Dead)}, cluster.IsFailing},
		{"one that leaves of three is not enough", 3, "", map[string]cluster.NodeHealth{"n2": says(cluster.Leaving)}, cluster.Serving},
		{"of two nodes both", 2, "", map[string]cluster.NodeHealth{"n1": says(cluster.Dead)}, cluster.Serving},
		{"of one node that one", 1, "", map[string]cluster.NodeHealth{"n1": says(cluster.Failing)}, cluster.IsFailing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := cluster.NewDraft()
			d.Service("a", service(t, "a", 4))
			for i := range test.nodes {
				n := &cluster.Node{}
				if name := fmt.Sprintf("n%d", i+1); name == test.beside {
					n.Addresses = []netip.Addr{addr("192.168.10.1")}
				}
				d.Node(fmt.Sprintf("n%d", i+1), n)
			}
			for node, h := range test.reports {
				d.Health(node, h)
			}
			require.Equal(t, test.want, resolved(t, d.Snapshot(1), "a").Instances[0].Status)
			for node := range test.reports {
				d.Health(node, nil)
			}
			require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(2), "a").Instances[0].Status, "well again")
		})
	}
}

// Of ten nodes three are asked: what the other seven say, as after they were asked once, does not count.
func TestDraftOnlyObserversCount(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Service("a", service(t, "a", 4))
	for i := range 10 {
		d.Node(fmt.Sprintf("n%02d", i), &cluster.Node{Monitor: "http://192.168.20.1:9647"})
	}
	d.Node("old", &cluster.Node{}) // it has no monitor, so it is not asked
	dead := cluster.NodeHealth{"a": {"i01": {Verdict: cluster.Dead}}}
	first := d.Snapshot(1)
	chosen := first.Observers.Of("a", "i01")
	require.Len(t, chosen, 3)
	for _, node := range first.Observers.Names() {
		if !slices.Contains(chosen, node) {
			d.Health(node, dead)
		}
	}
	d.Health("old", dead)
	d.Health(chosen[0], dead)
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(2), "a").Instances[0].Status)
	d.Health(chosen[1], dead)
	require.Equal(t, cluster.IsDead, resolved(t, d.Snapshot(3), "a").Instances[0].Status)

	// One that is down is replaced, and its word is void: the others' stands, for now another one is asked that said it, too.
	d.Down(chosen[0], &cluster.Down{})
	after := d.Snapshot(4)
	require.NotContains(t, after.Observers.Names(), chosen[0])
	require.NotContains(t, after.Observers.Of("a", "i01"), chosen[0])
	require.Equal(t, cluster.IsDead, resolved(t, after, "a").Instances[0].Status)

	// And when all but the three that say nothing are gone, it is well again.
	for _, node := range first.Observers.Names() {
		d.Health(node, nil)
	}
	d.Health(chosen[0], dead)
	d.Health(chosen[1], dead)
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(5), "a").Instances[0].Status, "one of the two is down, and does not observe")
	d.Down(chosen[0], nil)
	require.Equal(t, cluster.IsDead, resolved(t, d.Snapshot(6), "a").Instances[0].Status)
	d.Node(chosen[1], nil)
	require.Equal(t, cluster.Serving, resolved(t, d.Snapshot(7), "a").Instances[0].Status, "a node that left observes no more")
}

// Ids are chosen by whoever writes the key. A node that registers an instance under the id of another one must neither
// speak for that one nor take it down with itself.
func TestDraftForeignIDDoesNotSpeakForAnother(t *testing.T) {
	t.Parallel()
	for _, foreign := range []string{"192.168.10.99:80", "127.0.0.1:80"} {
		d := cluster.NewDraft()
		d.Service("a", service(t, "a", 2))
		i := instance(t, foreign)
		d.Instance("n9", "a", "i01", &i)
		d.Health("n9", cluster.NodeHealth{"a": {"i01": {Verdict: cluster.Dead}}})
		d.Down("n9", &cluster.Down{})
		for _, node := range []string{"n1", "n2", "n9"} {
			d.Node(node, &cluster.Node{})
		}
		for _, s := range resolved(t, d.Snapshot(1), "a").Instances {
			if s.Instance.Addr == addr("192.168.10.1") {
				require.Equal(t, cluster.Serving, s.Status, "%s", foreign)
			}
		}
	}
}

func TestDraftTwoNodesWithOneAddress(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Service("a", service(t, "a", 1))
	both := &cluster.Node{Addresses: []netip.Addr{addr("192.168.10.1")}}
	d.Node("n1", both)
	d.Node("n2", both)
	require.Equal(t, "n1", resolved(t, d.Snapshot(1), "a").Instances[0].Node)
	d.Node("n1", nil)
	require.Equal(t, "n2", resolved(t, d.Snapshot(2), "a").Instances[0].Node)
}

func TestDraftKeepsTheFlagsOfASnapshot(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Ready(true)
	d.Barrier(7)
	held := &cluster.Held{Revision: 3}
	d.Held(held)
	b, a := cluster.Problem{Object: "key b"}, cluster.Problem{Object: "key a"}
	d.Problem("b", &b)
	d.Problem("a", &a)
	s := d.Snapshot(9)
	require.Equal(t, []cluster.Problem{a, b}, s.Problems)
	require.Equal(t, []any{int64(9), true, int64(7), held}, []any{s.Revision, s.Ready, s.Barrier, s.Held})
	d.Problem("a", nil)
	require.Equal(t, []cluster.Problem{b}, d.Snapshot(10).Problems)
}
