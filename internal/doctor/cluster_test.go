package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// watched is a node that has a load monitor.
var watched = &cluster.Node{Version: "1", Monitor: "http://192.0.2.1:9647"}

// sound is a cluster that nothing is wrong with: three members, a service, a node.
func sound(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{Prefix: "/w/", Now: noon, Etcd: &etcd.Diagnosis{History: etcd.History{Revision: 1000}, Access: asUser("weir-operator", "weir-operator"), BarrierAt: noon.Add(-time.Minute)}}
	c.Etcd.Access.All = true
	for i, name := range []string{"a", "b", "c"} {
		url := "https://etcd-" + name + ":2379"
		c.Etcd.Endpoints = append(c.Etcd.Endpoints, etcd.Endpoint{URL: url, Given: true, HTTPS: true, Version: "3.6.11", Member: uint64(i + 1), Leader: 1, Size: 10 << 20, InUse: 9 << 20, Quota: 2 << 30})
		c.Etcd.Members = append(c.Etcd.Members, etcd.Member{ID: uint64(i + 1), Name: name, URLs: []string{url}})
	}
	c.Etcd.Certificates = []etcd.Certificate{{Whose: "server x", Subject: "CN=x", NotAfter: noon.Add(31 * 24 * time.Hour)}}
	d := cluster.NewDraft()
	instance, err := cluster.ParseInstance("192.0.2.9:80")
	require.NoError(t, err)
	d.Service("a", &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: []cluster.Instance{instance}, ModRevision: 90})
	d.Config(&cluster.Config{VIPPools: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}, InstanceNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	d.Node("n1", watched)
	d.Barrier(90)
	c.Snapshot = Known(d.Snapshot(100))
	c.Monitors = Known(map[string]error{"n1": nil})
	c.Fleet = Known(controlcenter.Fleet{Alive: map[string]bool{"n1": true}, Applied: map[string]cluster.Applied{"n1": {Revision: 100, At: noon.Add(-30 * time.Second)}}})
	return c
}

func TestNothingIsWrongWithTheCluster(t *testing.T) {
	t.Parallel()
	found := CheckCluster(sound(t))
	require.Len(t, found, len(clusterChecks))
	require.Equal(t, OK, Worst(found), "%v", found)
}

func TestClusterFindings(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	first := func(change func(*etcd.Endpoint)) func(*Cluster) {
		return func(c *Cluster) { change(&c.Etcd.Endpoints[0]) }
	}
	applied := func(change func(*cluster.Applied)) func(*Cluster) {
		return func(c *Cluster) {
			a := c.Fleet.value.Applied["n1"]
			change(&a)
			c.Fleet.value.Applied["n1"] = a
		}
	}
	draft := func(change func(*cluster.Draft)) func(*Cluster) {
		return func(c *Cluster) {
			d := cluster.NewDraft()
			for name, in := range c.Snapshot.value.Services.All() {
				d.Service(name, in.Service)
			}
			d.Config(c.Snapshot.value.Config)
			d.Node("n1", watched)
			d.Barrier(90)
			change(d)
			c.Snapshot = Known(d.Snapshot(100))
		}
	}
	user := func(a etcd.Access) func(*Cluster) {
		return func(c *Cluster) { a.All = true; c.Etcd.Access = a }
	}
	grant := func(s etcd.Span) etcd.Access {
		a := asUser("weir-node-n1", "weir-node-n1")
		a.Roles["weir-node-n1"] = append(a.Roles["weir-node-n1"], s)
		return a
	}
	lacking := asUser("weir-viewer", "weir-viewer")
	lacking.Roles["weir-viewer"] = nil
	ends := func(after time.Duration) func(*Cluster) {
		return func(c *Cluster) { c.Etcd.Certificates[0].NotAfter = noon.Add(after) }
	}

	for name, test := range map[string]struct {
		check    string
		change   func(*Cluster)
		severity Severity
		seen     string
	}{
		"no answer":     {"endpoints", first(func(e *etcd.Endpoint) { e.Err = broken }), Fail, "https://etcd-a:2379 does not answer: broken"},
		"a member away": {"members", first(func(e *etcd.Endpoint) { e.Err = broken }), Warn, "member a (1) does not answer"},
		"a member on its own host": {"members", func(c *Cluster) {
			c.Etcd.Endpoints = c.Etcd.Endpoints[1:]
			c.Etcd.Members[0].URLs = []string{"http://127.0.0.1:2379"}
		}, OK, ""},
		"no leader":                {"members", first(func(e *etcd.Endpoint) { e.Leader = 0 }), Fail, "knows no leader"},
		"two members":              {"members", func(c *Cluster) { c.Etcd.Members = c.Etcd.Members[:2] }, Warn, "even number of members: 2"},
		"one member":               {"members", func(c *Cluster) { c.Etcd.Members = c.Etcd.Members[:1] }, Note, "one member"},
		"a learner does not count": {"members", func(c *Cluster) { c.Etcd.Members = append(c.Etcd.Members, etcd.Member{ID: 1, Learner: true}) }, OK, ""},
		"members unknown":          {"members", func(c *Cluster) { c.Etcd.MembersErr = broken }, Warn, "could not be looked at: broken"},
		"no space":                 {"alarms", first(func(e *etcd.Endpoint) { e.Alarms = []string{"memberID:1 alarm:NOSPACE "} }), Fail, "out of space"},
		"damaged":                  {"alarms", first(func(e *etcd.Endpoint) { e.Alarms = []string{"memberID:1 alarm:CORRUPT "} }), Fail, "its data is damaged"},
		"another alarm":            {"alarms", first(func(e *etcd.Endpoint) { e.Alarms = []string{"etcdserver: no leader"} }), Fail, "no leader"},
		"3.4":                      {"version", first(func(e *etcd.Endpoint) { e.Version = "3.4.37" }), Warn, "runs etcd 3.4.37"},
		"3.5.29":                   {"version", first(func(e *etcd.Endpoint) { e.Version = "3.5.29" }), Warn, "3.5.29"},
		"3.5.30":                   {"version", first(func(e *etcd.Endpoint) { e.Version = "3.5.30" }), OK, ""},
		"3.6.10":                   {"version", first(func(e *etcd.Endpoint) { e.Version = "3.6.10" }), Warn, "3.6.10"},
		"3.7.0":                    {"version", first(func(e *etcd.Endpoint) { e.Version = "3.7.0" }), OK, ""},
		"of the future":            {"version", first(func(e *etcd.Endpoint) { e.Version = "4.0.0" }), OK, ""},
		"nearly full":              {"space", first(func(e *etcd.Endpoint) { e.Size = 1700 << 20 }), Warn, "1700 MiB, 83 % of its quota"},
		"full":                     {"space", first(func(e *etcd.Endpoint) { e.Size = 2000 << 20 }), Fail, "2000 MiB"},
		"quota not told":           {"space", first(func(e *etcd.Endpoint) { e.Size, e.Quota = 1700<<20, 0 }), Warn, "default"},
		"fragmented":               {"space", first(func(e *etcd.Endpoint) { e.Size, e.InUse = 300<<20, 1<<20 }), Note, "300 MiB, of which 1 are in use"},
		"never compacted":          {"history", func(c *Cluster) { c.Etcd.History = etcd.History{Revision: 100_000} }, Warn, "100000 old revisions, and was last compacted at 0"},
		"compacted seldom":         {"history", func(c *Cluster) { c.Etcd.History = etcd.History{Revision: 1_000_005, Compacted: 5} }, Warn, "1000000 old revisions"},
		"compacted":                {"history", func(c *Cluster) { c.Etcd.History = etcd.History{Revision: 1_000_004, Compacted: 5} }, OK, ""},
		"history unknown":          {"history", func(c *Cluster) { c.Etcd.HistoryErr = broken }, Warn, "could not"},
		"plain http":               {"tls", first(func(e *etcd.Endpoint) { e.HTTPS = false }), Warn, "is plain http"},
		"plain http to itself":     {"tls", first(func(e *etcd.Endpoint) { e.HTTPS, e.Local = false, true }), OK, ""},
		"certificate ends":         {"certificates", ends(29 * 24 * time.Hour), Warn, "server x, CN=x, ends in 29 days"},
		"certificate ended":        {"certificates", ends(-time.Second), Fail, "has ended"},
		"nobody asked":             {"authentication", user(etcd.Access{}), Warn, "does not ask who one is"},
		"rights unknown":           {"authentication", user(etcd.Access{Enabled: true, Err: broken}), Warn, "could not be looked at: broken"},
		"a wide role":              {"rbac", user(grant(etcd.Span{From: "/w/net/services/", To: "/w/net/services0", Write: true})), Warn, "role weir-node-n1 may write beyond its part: /w/net/services/*"},
		"a role of all":            {"rbac", user(grant(etcd.Span{Write: true})), Warn, "may write beyond its part: "},
		"a curious role":           {"rbac", user(grant(etcd.Span{From: "/other/", To: "/other0", Read: true})), Note, "may read beyond its part: /other/*"},
		"a poor role":              {"rbac", user(lacking), Warn, "role weir-viewer lacks rights: "},
		"a user of two minds":      {"rbac", user(asUser("weir-node-n1", "weir-node-n1", "weir-controlcenter")), Warn, "has also weir-controlcenter"},
		"a node as root":           {"rbac", user(asUser("n", "weir-node-n1", "root")), Warn, "has also root"},
		"a node that looks":        {"rbac", user(asUser("n", "weir-node-n1", "weir-viewer")), OK, ""},
		"a user of two nodes":      {"rbac", user(asUser("n", "weir-node-n1", "weir-node-n2")), Note, "speaks for 2 nodes"},
		"root":                     {"rbac", user(asUser("root", "root")), Note, "this is etcd's root"},
		"seen by one":              {"rbac", func(c *Cluster) { c.Etcd.Access.All = false }, Note, "only the rights of this user, weir-operator"},
		"no configuration":         {"config", draft(func(d *cluster.Draft) { d.Config(nil) }), Note, "vip_pools and instance_networks"},
		"a value nobody reads":     {"values", draft(func(d *cluster.Draft) { d.Problem("k", &cluster.Problem{Object: "key k", What: "is broken"}) }), Warn, "key k: is broken"},
		"a service with nobody":    {"services", draft(func(d *cluster.Draft) { d.Admin("a", "192.0.2.9:80", &cluster.Admin{Drain: true}) }), Warn, "no instance takes connections of a"},
		"held":                     {"guard", applied(func(a *cluster.Applied) { a.Held = &cluster.Held{Revision: 7} }), Warn, "held back by n1"},
		"lost":                     {"nodes", func(c *Cluster) { c.Fleet.value.Alive = nil }, Warn, "no agent is in touch with etcd on n1"},
		"stale":                    {"nodes", applied(func(a *cluster.Applied) { a.Stale = true }), Warn, "without etcd: n1"},
		"silent":                   {"nodes", func(c *Cluster) { c.Fleet.value.Applied = nil }, Warn, "never applied anything: n1"},
		"late":                     {"lag", applied(func(a *cluster.Applied) { a.Revision = 89 }), Warn, "and have not: n1"},
		"behind": {"lag", func(c *Cluster) {
			draft(func(d *cluster.Draft) { d.Barrier(50) })(c)
			applied(func(a *cluster.Applied) { a.Revision = 60 })(c)
		}, Note, "have not told yet"},
		"no load monitor": {"monitors", draft(func(d *cluster.Draft) { d.Node("n1", &cluster.Node{Version: "1"}) }), Note, "no load monitor on n1"},
		"a deaf load monitor": {"monitors", func(c *Cluster) {
			c.Monitors = Known(map[string]error{"n1": broken})
		}, Warn, "1 load monitor asked in vain: broken"},
		"load monitors that were not asked": {"monitors", func(c *Cluster) { c.Monitors = Known[map[string]error](nil) }, OK, ""},
		"load monitors unknown":             {"monitors", func(c *Cluster) { c.Monitors.err = broken }, Warn, "could not be looked at: broken"},
		"the load monitor of a node that is away": {"monitors", func(c *Cluster) {
			c.Fleet.value.Alive, c.Monitors = nil, Known(map[string]error{"n1": broken})
		}, OK, ""},
		"a node's problem": {"problems", applied(func(a *cluster.Applied) {
			a.Problems, a.ProblemCount = []cluster.Problem{{Object: "service a", What: "bad"}}, 9
		}), Warn, "node n1: service a: bad"},
		"a problem of many nodes": {"problems", func(c *Cluster) {
			for i := range 7 {
				c.Fleet.value.Applied[fmt.Sprintf("n%d", i+1)] = cluster.Applied{Problems: []cluster.Problem{{Object: "service a", Field: "vips", What: "bad"}}}
			}
		}, Warn, "7 nodes (n1, n2, n3, n4, n5 and 2 more): service a: vips: bad"},
		"an agent that accepts all": {"insecure", applied(func(a *cluster.Applied) { a.Insecure = true }), Warn, "--insecure-etcd): n1"},
		"two versions": {"versions", func(c *Cluster) {
			draft(func(d *cluster.Draft) { d.Node("n2", &cluster.Node{Version: "2"}) })(c)
			c.Fleet.value.Alive["n2"] = true
		}, Note, "1 on n1; 2 on n2"},
		"a clock ahead":   {"clocks", applied(func(a *cluster.Applied) { a.At = noon.Add(time.Minute) }), Warn, "ahead of this host's: n1 (1m0s)"},
		"a clock behind":  {"clocks", applied(func(a *cluster.Applied) { a.At = noon.Add(-3 * time.Minute) }), Warn, "before it was made, by their clocks: n1 (2m0s)"},
		"nothing to read": {"services", func(c *Cluster) { c.Snapshot.err = broken }, Warn, "could not be looked at: broken"},
		"nodes unknown":   {"nodes", func(c *Cluster) { c.Fleet.err = broken }, Warn, "could not be looked at: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sound(t)
			test.change(c)
			found := CheckCluster(c)
			expect(t, found, test.check, test.severity, test.seen)
			noWorse(t, found, ClusterEntries())
		})
	}
}

// Of many problems the first are told, and of all how many there are: those also that nodes have no place to tell of.
func TestManyProblemsOfNodesAreCounted(t *testing.T) {
	t.Parallel()
	c := sound(t)
	var all []cluster.Problem
	for i := range few + 2 {
		all = append(all, cluster.Problem{Object: fmt.Sprintf("service a%d", i), What: "bad"})
	}
	seen := func() (out []string) {
		found, err := problems(c)
		require.NoError(t, err)
		for _, f := range found {
			out = append(out, f.Seen)
		}
		return out
	}
	c.Fleet.value.Applied["n1"] = cluster.Applied{Problems: all[:few]}
	want := []string{"node n1: service a0: bad", "node n1: service a1: bad", "node n1: service a2: bad", "node n1: service a3: bad", "node n1: service a4: bad"}
	require.Equal(t, want, seen())
	c.Fleet.value.Applied["n1"] = cluster.Applied{Problems: all, ProblemCount: few + 10}
	require.Equal(t, append(want, "10 more problems"), seen())
	c.Fleet.value.Applied["n1"] = cluster.Applied{Problems: all[:1], ProblemCount: 2}
	require.Equal(t, []string{want[0], "1 more problem"}, seen())
}

func TestEndpointsAlone(t *testing.T) {
	t.Parallel()
	c := &Cluster{Etcd: &etcd.Diagnosis{Endpoints: []etcd.Endpoint{{URL: "x", Err: errors.New("broken")}}}}
	expect(t, CheckEndpoints(c), "endpoints", Fail, "x does not answer")
}
