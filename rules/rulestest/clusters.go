package rulestest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// Clusters makes random histories of small clusters: few names, addresses and ports, so that they collide often.
type Clusters struct {
	draft    *cluster.Draft
	said     map[string]func(*cluster.Draft) // the last word about each thing
	revision int64
}

// Nodes are the names of the nodes of random clusters.
var Nodes = []string{"n1", "n2"}

// NewClusters starts with no service.
func NewClusters() *Clusters {
	return &Clusters{draft: cluster.NewDraft(), said: map[string]func(*cluster.Draft){}, revision: 1}
}

func (c *Clusters) say(about string, word func(*cluster.Draft)) {
	c.said[about] = word
	word(c.draft)
}

// Next changes something, and seals it.
func (c *Clusters) Next(t *rapid.T) *cluster.Snapshot {
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		c.change(t)
	}
	c.revision++
	return c.draft.Snapshot(c.revision)
}

// Same seals the present state again, as a fresh process would find it.
func (c *Clusters) Same() *cluster.Snapshot { return c.draft.Snapshot(c.revision) }

// Replayed is the present state as somebody finds it who heard the last word about each thing, in any order.
func (c *Clusters) Replayed(t *rapid.T) *cluster.Snapshot {
	draft := cluster.NewDraft()
	for _, about := range rapid.Permutation(slices.Sorted(maps.Keys(c.said))).Draw(t, "order") {
		c.said[about](draft)
	}
	return draft.Snapshot(c.revision)
}

func (c *Clusters) change(t *rapid.T) {
	name := fmt.Sprintf("s%d", rapid.IntRange(0, 4).Draw(t, "service"))
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 0:
		c.say("service "+name, func(d *cluster.Draft) { d.Service(name, nil) })
	case 1:
		id, admin := instance(t, true).ID, cluster.Admin{Drain: rapid.Bool().Draw(t, "drain")}
		c.say("admin "+name+id, func(d *cluster.Draft) { d.Admin(name, id, &admin) })
	case 2:
		verdict := rapid.SampledFrom([]cluster.Verdict{cluster.Dead, cluster.Failing}).Draw(t, "verdict")
		health := cluster.NodeHealth{name: {instance(t, true).ID: {Verdict: verdict, Since: time.Unix(1, 0)}}}
		c.say("health", func(d *cluster.Draft) { d.Health("n1", health) })
	case 3:
		share := map[string]int{}
		for range rapid.IntRange(0, 4).Draw(t, "shares") {
			share[instance(t, true).ID] = rapid.IntRange(0, 1000).Draw(t, "share")
		}
		c.say("weights "+name, func(d *cluster.Draft) { d.Weights(name, &cluster.Weights{Share: share}) })
	case 4:
		pools := [][]netip.Prefix{
			nil, {netip.MustParsePrefix("10.10.0.0/16")}, {netip.MustParsePrefix("10.10.1.0/30"), netip.MustParsePrefix("fd10::/64")},
			{netip.MustParsePrefix("10.10.1.3/24"), {}, netip.MustParsePrefix("fd10::/126")}, // only the last is sound
		}
		config := &cluster.Config{VIPPools: rapid.SampledFrom(pools).Draw(t, "pools")}
		c.say("config", func(d *cluster.Draft) { d.Config(config) })
	case 5:
		c.node(t, rapid.SampledFrom(Nodes).Draw(t, "node"))
	default:
		service := c.service(t, name)
		c.say("service "+name, func(d *cluster.Draft) { d.Service(name, service) })
	}
}

// node joins, moves to another zone, gets other addresses, or leaves.
func (c *Clusters) node(t *rapid.T, name string) {
	node := &cluster.Node{Labels: map[string]string{}}
	if zone := rapid.SampledFrom([]string{"", "east", "west"}).Draw(t, "zone"); zone != "" {
		node.Labels[cluster.ZoneLabel] = zone
	}
	for range rapid.IntRange(0, 4).Draw(t, "addresses") {
		node.Addresses = append(node.Addresses, instance(t, rapid.Bool().Draw(t, "v4")).Addr)
	}
	if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
		node = nil
	}
	c.say("node "+name, func(d *cluster.Draft) { d.Node(name, node) })
}

func (c *Clusters) service(t *rapid.T, name string) *cluster.Service {
	c.revision++
	s := &cluster.Service{
		Name: name, CreateRevision: int64(rapid.IntRange(1, 9).Draw(t, "created")), ModRevision: c.revision,
		Balance:  rapid.SampledFrom([]cluster.Balance{"", cluster.BalanceUniform, cluster.BalanceStatic, cluster.BalanceAdaptive}).Draw(t, "balance"),
		Affinity: rapid.SampledFrom([]cluster.Affinity{cluster.AffinityNone, cluster.AffinityNone, cluster.AffinitySource}).Draw(t, "affinity"),
		Ports:    []cluster.Port{{Port: uint16(rapid.IntRange(80, 82).Draw(t, "port")), Protocol: rapid.SampledFrom([]cluster.Proto{cluster.TCP, cluster.UDP}).Draw(t, "proto")}},
	}
	if rapid.IntRange(0, 4).Draw(t, "scaled") == 0 { // without an instance it sleeps
		Sleeper(s)
	}
	s.Locality = rapid.SampledFrom([]cluster.Locality{"", "", cluster.LocalityNone, cluster.LocalityNode, cluster.LocalityZone}).Draw(t, "locality")
	s.Sources = sources(t)
	s.VIPs = append(s.VIPs, netip.AddrFrom4([4]byte{10, 10, 1, byte(rapid.IntRange(1, 5).Draw(t, "vip"))}))
	if rapid.Bool().Draw(t, "dual") {
		s.VIPs = append(s.VIPs, netip.MustParseAddr(fmt.Sprintf("fd10::%d", rapid.IntRange(1, 3).Draw(t, "vip6"))))
	}
	seen := map[string]bool{}
	for range rapid.SampledFrom([]int{0, 0, 1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "instances") {
		i := instance(t, s.VIPs[len(s.VIPs)-1].Is4() || rapid.Bool().Draw(t, "v4"))
		i.Weight = rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2, 3, 7, 100, 999, 1000}).Draw(t, "weight")
		if !seen[i.ID] {
			seen[i.ID] = true
			s.Instances = append(s.Instances, i)
		}
	}
	return s
}

// sources leave everybody in, or only some; they overlap, and may leave out a family.
func sources(t *rapid.T) (out []netip.Prefix) {
	if rapid.IntRange(0, 2).Draw(t, "guarded") > 0 {
		return nil
	}
	some := []string{"10.30.0.0/24", "10.30.0.0/16", "10.30.0.2/32", "10.31.0.0/25", "10.31.0.128/25", "0.0.0.0/0", "fd30::/64", "fd30::2/128", "fd31::/16"}
	for _, p := range rapid.SliceOfNDistinct(rapid.SampledFrom(some), 1, 4, rapid.ID[string]).Draw(t, "sources") {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func instance(t *rapid.T, v4 bool) cluster.Instance {
	n := rapid.IntRange(1, 9).Draw(t, "instance")
	address := fmt.Sprintf("192.168.10.%d:80", n)
	if !v4 {
		address = fmt.Sprintf("[fd00::%d]:80", n)
	}
	i, err := cluster.ParseInstance(address)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
