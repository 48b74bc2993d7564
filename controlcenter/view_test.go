package controlcenter_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func TestServicesView(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "b", "10.10.1.2:53/udp", "192.168.1.1:53", "192.168.1.2:53"), storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80"),
		storetest.Service(t, "c", "10.10.1.3:80"), storetest.Service(t, "d", "10.10.1.4:80", "192.168.1.9:80"))
	f.Edit(func(d *cluster.Draft) {
		d.Admin("b", "192.168.1.1:53", &cluster.Admin{Drain: true})
		d.Admin("d", "192.168.1.9:80", &cluster.Admin{Drain: true})
	})
	rows, err := controlcenter.Services(snapshot(t, f), "")
	require.NoError(t, err)
	got := map[string]string{}
	for _, r := range rows {
		got[r.Name] = r.Status
	}
	require.Equal(t, map[string]string{"a": "ok", "b": "degraded", "c": "empty", "d": "down"}, got)
	require.Equal(t, controlcenter.ServiceRow{
		Name: "b", Frontends: []string{"10.10.1.2:53/udp"}, Balance: "static", Affinity: "none", Locality: "none", Sources: "everybody", Check: "none", Load: "none", Latency: "soft 100ms, hard 1s", Taking: 1, Instances: 2, Status: "degraded", Revision: 101,
	}, rows[1])
	require.Nil(t, rows[1].Blend, "weights that follow nothing are not blended")
	half := 50
	adaptive := storetest.Service(t, "e", "10.10.1.5:80")
	adaptive.Balance, adaptive.Blend = cluster.BalanceAdaptive, &half
	f.Put(t, adaptive)
	rows, err = controlcenter.Services(snapshot(t, f), "e")
	require.NoError(t, err)
	require.Equal(t, &half, rows[0].Blend)
	// Those that are kept for when they are needed are not missing; one that an operator set aside is.
	pool := storetest.Service(t, "p", "10.10.1.6:80", "192.168.1.20:80", "192.168.1.21:80")
	pool.Instances[1].Standby = true
	f.Put(t, pool)
	f.Edit(func(d *cluster.Draft) {
		d.Instance("n1", "p", "p-1", &cluster.Instance{ID: "p-1", Addr: netip.MustParseAddr("192.168.1.22"), Port: 80, Weight: 1, Node: "n1", Draining: true})
	})
	rows, err = controlcenter.Services(snapshot(t, f), "p")
	require.NoError(t, err)
	require.Equal(t, "ok", rows[0].Status)
	f.Edit(func(d *cluster.Draft) { d.Admin("p", "192.168.1.21:80", &cluster.Admin{Drain: true}) })
	rows, err = controlcenter.Services(snapshot(t, f), "p")
	require.NoError(t, err)
	require.Equal(t, "degraded", rows[0].Status)
	_, err = controlcenter.Services(snapshot(t, f), "x")
	require.ErrorContains(t, err, "there are a, b, c, d, e, p")
}

func TestInstancesView(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80", "[fd00:1::1]:80")
	s.VIPs = append(s.VIPs, netip.MustParseAddr("fd00::1"))
	s.Instances[1].Weight = 3
	f.Put(t, s)
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.3")}, Labels: map[string]string{"zone": "east"}})
		d.Health("n1", cluster.NodeHealth{"a": {"192.168.1.3:80": {Verdict: cluster.Dead, Reason: "connection refused", Output: "said", Since: noon}}})
		d.Instance("n2", "a", "r", &cluster.Instance{Addr: netip.MustParseAddr("192.168.1.4"), Port: 80, Weight: 1})
	})
	rows, err := controlcenter.Instances(snapshot(t, f), "a", noon.Add(time.Minute))
	require.NoError(t, err)
	shares := map[string]float64{}
	for _, r := range rows {
		shares[r.ID] = r.Share
	}
	require.Equal(t, map[string]float64{"192.168.1.1:80": 20, "192.168.1.2:80": 60, "192.168.1.3:80": 0, "r": 20, "[fd00:1::1]:80": 100}, shares)
	require.Equal(t, controlcenter.InstanceRow{
		Service: "a", ID: "192.168.1.3:80", Address: "192.168.1.3:80", Node: "n1", Zone: "east", By: cluster.ByFile, State: cluster.IsDead, Reason: "connection refused", Output: "said",
		Since: noon, Age: time.Minute, From: "file",
	}, rows[2])
	require.Equal(t, []string{"n2", "node"}, []string{rows[4].Node, rows[4].From})
}

func TestNodesView(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80"))
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}, Version: "1.2"})
		d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2")}})
		d.Down("n2", &cluster.Down{Reason: "lease gone", Since: noon})
		d.Down("n5", &cluster.Down{Reason: "nothing runs there"})
		d.NodeAdmin("n6", &cluster.NodeAdmin{Drain: true, Reason: "a new disk", Since: noon}) // and nothing is left there
		d.NodeAdmin("n7", &cluster.NodeAdmin{Cordon: true})
	})
	fleet := controlcenter.Fleet{
		Alive:   map[string]bool{"n1": true, "n6": true, "n7": true},
		Applied: map[string]cluster.Applied{"n1": {Revision: 100, TookMS: 2, At: noon}, "n3": {Revision: 101, Stale: true}, "n4": {}},
		Gone: map[string]cluster.Gone{
			"n1": {State: cluster.Unwatched, Reason: "of yesterday"}, "n2": {State: cluster.HeldBack, Reason: "of yesterday"},
			"n3": {State: cluster.HeldBack, Reason: "6 of 10 at once", Since: noon}, "n4": {State: cluster.Unwatched, Reason: "it answers n1", Since: noon},
		},
		Repairs: map[string]cluster.Repairs{"n1": {Count: 30, Newest: []cluster.Repair{{What: "newest"}, {What: "older"}}}},
	}
	rows, err := controlcenter.Nodes(snapshot(t, f), fleet, "", noon.Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, []controlcenter.NodeRow{
		{Name: "n1", State: "alive", Alive: true, Applied: 100, Lag: 1, TookMS: 2, Version: "1.2", Addresses: []string{"192.168.1.1"}, Instances: 1, At: noon, Age: time.Second,
			Repairs: 30, LastRepair: &cluster.Repair{What: "newest"}},
		{Name: "n2", State: "down", Reason: "lease gone", Since: noon, For: time.Second, Lag: 101, Addresses: []string{"192.168.1.2"}, Instances: 1},
		{Name: "n3", State: "gone", Reason: "6 of 10 at once", Since: noon, For: time.Second, Applied: 101, Stale: true},
		{Name: "n4", State: "unwatched", Reason: "it answers n1", Since: noon, For: time.Second, Lag: 101},
		{Name: "n5", State: "down", Reason: "nothing runs there", Lag: 101},
		{Name: "n6", State: "drained", Alive: true, Reason: "a new disk", Since: noon, For: time.Second, Lag: 101},
		{Name: "n7", State: "cordoned", Alive: true, Lag: 101},
	}, rows, "the service changed last, at 101; what nodes tell moves the store on, but is nothing to apply")

	// A load monitor of its own adds what it complains of to its node, and makes no node of a name.
	bad := func(what string) cluster.Problem { return cluster.Problem{Object: "service a", What: what} }
	one := fleet.Applied["n1"]
	one.Problems, one.ProblemCount = []cluster.Problem{bad("b"), bad("d")}, 30
	fleet.Applied["n1"] = one
	fleet.Loadmons = map[string]cluster.Loadmon{
		"n1": {Problems: []cluster.Problem{bad("a"), bad("b"), bad("c")}, ProblemCount: 50}, "n2": {Problems: []cluster.Problem{bad("a")}}, "forgotten": {Problems: []cluster.Problem{bad("z")}},
	}
	rows, err = controlcenter.Nodes(snapshot(t, f), fleet, "", noon)
	require.NoError(t, err)
	require.Len(t, rows, 7)
	require.Equal(t, []cluster.Problem{bad("a"), bad("b"), bad("c"), bad("d")}, rows[0].Problems, "what both say is said once")
	require.Equal(t, 79, rows[0].ProblemCount)
	require.Equal(t, []any{fleet.Loadmons["n2"].Problems, 1}, []any{rows[1].Problems, rows[1].ProblemCount})
	require.Len(t, fleet.Applied["n1"].Problems, 2, "what was told stays as it was")
	_, err = controlcenter.Nodes(snapshot(t, f), fleet, "n9", noon)
	require.EqualError(t, err, `node "n9" does not exist: there are n1, n2, n3, n4, n5, n6, n7`)
}
