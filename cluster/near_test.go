package cluster_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// spread is a service with instances on two nodes of zone east, one of zone west and one without a zone.
func spread(t *testing.T, locality cluster.Locality, change func(*cluster.Draft)) *cluster.Snapshot {
	s, d := service(t, "a", 5), cluster.NewDraft()
	s.Locality = locality
	for i, zone := range []string{"east", "east", "west", ""} {
		node := &cluster.Node{}
		node.Addresses = append(node.Addresses, s.Instances[i].Addr)
		if zone != "" {
			node.Labels = map[string]string{cluster.ZoneLabel: zone}
		}
		d.Node(fmt.Sprintf("n%d", i+1), node)
	}
	s.Instances[4].Labels = map[string]string{cluster.ZoneLabel: "west"} // on no node of ours
	d.Service("a", s)
	change(d)
	return d.Snapshot(9)
}

func TestNear(t *testing.T) {
	t.Parallel()
	drain := func(ids ...string) func(*cluster.Draft) {
		return func(d *cluster.Draft) {
			for _, id := range ids {
				d.Admin("a", id, &cluster.Admin{Drain: true})
			}
		}
	}
	failing := func(ids ...string) func(*cluster.Draft) {
		return func(d *cluster.Draft) {
			for i, id := range ids {
				d.Health(fmt.Sprintf("n%d", i+1), cluster.NodeHealth{"a": {id: {Verdict: cluster.Failing}}})
			}
		}
	}
	for _, c := range []struct {
		name     string
		locality cluster.Locality
		node     string
		change   func(*cluster.Draft)
		targets  []int // the last byte of their addresses
		why      string
	}{
		{"none", cluster.LocalityNone, "n1", drain(), []int{1, 2, 3, 4, 5}, ""},
		{"left out", "", "n1", drain(), []int{1, 2, 3, 4, 5}, ""},
		{"node", cluster.LocalityNode, "n1", drain(), []int{1}, "prefer-node: 1 of 5 instances are on node n1 and take all of its connections"},
		{"node, its own drained", cluster.LocalityNode, "n1", drain("i01"), []int{2, 3, 4, 5}, "prefer-node: no instance on node n1 is well, so all 4 are used"},
		{"node without an instance", cluster.LocalityNode, "n9", drain(), []int{1, 2, 3, 4, 5}, "prefer-node: no instance on node n9 is well, so all 5 are used"},
		{"node, its own fails", cluster.LocalityNode, "n1", failing("i01"), []int{2, 3, 4, 5}, "prefer-node: no instance on node n1 is well, so all 4 are used"},
		{"node, its own fails with most others", cluster.LocalityNode, "n1", failing("i01", "i02", "i03"), []int{1, 2, 3, 4, 5}, "prefer-node: no instance on node n1 is well, so all 5 are used"},
		{"node, nobody is there", cluster.LocalityNode, "n1", drain("i01", "i02", "i03", "i04", "i05"), nil, ""},
		{"nobody asks", cluster.LocalityNode, "", drain(), []int{1, 2, 3, 4, 5}, "prefer-node: every node decides for itself, and none is named"},
		{"zone", cluster.LocalityZone, "n1", drain(), []int{1, 2}, "prefer-zone: 2 of 5 instances are in zone east and take all of its connections"},
		{"zone, by an instance's own label", cluster.LocalityZone, "n3", drain(), []int{3, 5}, "prefer-zone: 2 of 5 instances are in zone west and take all of its connections"},
		{"zone, all drained", cluster.LocalityZone, "n1", drain("i01", "i02"), []int{3, 4, 5}, "prefer-zone: no instance in zone east is well, so all 3 are used"},
		{"no zone", cluster.LocalityZone, "n4", drain(), []int{1, 2, 3, 4, 5}, `prefer-zone: node n4 has no label "zone", so all instances are used`},
		{"no node", cluster.LocalityZone, "n9", drain(), []int{1, 2, 3, 4, 5}, `prefer-zone: node n9 has no label "zone", so all instances are used`},
		{"zone, nobody asks", cluster.LocalityZone, "", drain(), []int{1, 2, 3, 4, 5}, "prefer-zone: every node decides for itself, and none is named"},
	} {
		s := spread(t, c.locality, c.change)
		r, at := resolved(t, s, "a"), s.Place(c.node)
		targets, why := r.Near(r.Frontends[0], at)
		var last []int
		for _, target := range targets {
			last = append(last, int(target.Address.Addr().As4()[3]))
		}
		require.Equal(t, c.targets, last, c.name)
		require.Equal(t, c.why, why, c.name)
		if c.locality == cluster.LocalityZone && c.node != "" && at.Zone == "" {
			require.Equal(t, []cluster.Problem{{Object: "service a", Field: "locality", What: c.why, Fix: "start the agent with --label zone=NAME"}}, r.Misplaced(at), c.name)
		} else {
			require.Empty(t, r.Misplaced(at), c.name)
		}
	}
}

// A node that moves to another zone takes its instances along.
func TestNearFollowsTheZone(t *testing.T) {
	t.Parallel()
	s := spread(t, cluster.LocalityZone, func(d *cluster.Draft) {
		d.Snapshot(8)
		d.Node("n2", &cluster.Node{Addresses: []netip.Addr{addr("192.168.10.2")}, Labels: map[string]string{cluster.ZoneLabel: "west"}})
	})
	r := resolved(t, s, "a")
	targets, _ := r.Near(r.Frontends[0], s.Place("n2"))
	require.Len(t, targets, 3)
}

func TestOn(t *testing.T) {
	t.Parallel()
	s := spread(t, "", func(d *cluster.Draft) {
		d.Admin("a", "i01", &cluster.Admin{Drain: true})
		other := service(t, "b", 1)
		other.VIPs[0], other.Ports[0].Protocol = addr("10.10.1.9"), cluster.UDP
		d.Service("b", other)
		bad := service(t, "c", 0)
		bad.VIPs[0] = addr("10.10.1.10")
		bad.Instances = append(bad.Instances, instance(t, "127.0.0.1:80"))
		d.Service("c", bad)
	})
	require.Equal(t, "[192.168.10.1:80]", fmt.Sprint(resolved(t, s, "a").On("n1")), "a drained one too: others may still send to it")
	require.Equal(t, "[192.168.10.1:80/udp]", fmt.Sprint(resolved(t, s, "b").On("n1")))
	require.Empty(t, resolved(t, s, "a").On("n9"))
	require.Empty(t, resolved(t, s, "a").On(""), "nobody asks")
	require.Empty(t, resolved(t, s, "c").On(""), "refused ones are nowhere")
}
