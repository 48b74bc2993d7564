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

// hosts is a store with two nodes: a has an instance on each, b one that n2 registered; n1 is alive.
func hosts(t *testing.T) (*storetest.Fake, controlcenter.Fleet) {
	t.Helper()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80"), storetest.Service(t, "b", "10.10.1.2:80"))
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}})
		d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2")}})
		d.Instance("n2", "b", "b-1", &cluster.Instance{Addr: netip.MustParseAddr("192.168.1.2"), Port: 81, Weight: 1})
	})
	return f, controlcenter.Fleet{Alive: map[string]bool{"n1": true}}
}

func TestPlanDown(t *testing.T) {
	t.Parallel()
	f, fleet := hosts(t)
	word := controlcenter.NodeWord{Node: "n2", Reason: "disk", Force: true}
	p, err := controlcenter.PlanDown(snapshot(t, f), fleet, word, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.SetDown{Node: "n2", Down: &cluster.Down{Reason: "disk", Since: noon}}, p.Change)
	require.Equal(t, "node n2 is declared down\n"+
		"  - service a: 1 of the 2 instances that take new connections\n"+
		"  - service b: 1 of the 1 instances that take new connections", p.String())
	word.Force = false
	_, err = controlcenter.PlanDown(snapshot(t, f), fleet, word, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "no instance of service b would take new connections")

	_, err = controlcenter.PlanDown(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1", Force: true}, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "node n1 is alive")
	for _, name := range []string{"n9", ""} {
		_, err = controlcenter.PlanDown(snapshot(t, f), fleet, controlcenter.NodeWord{Node: name}, noon)
		require.Error(t, err, name)
	}

	_, err = f.Commit(t.Context(), p.Change)
	require.NoError(t, err)
	p, err = controlcenter.PlanDown(snapshot(t, f), fleet, word, noon)
	require.NoError(t, err)
	require.True(t, p.Nothing())
	require.Equal(t, "node n2 is already declared down", p.String())
}

func TestPlanUp(t *testing.T) {
	t.Parallel()
	f, fleet := hosts(t)
	p, err := controlcenter.PlanUp(snapshot(t, f), fleet, "n2", noon)
	require.NoError(t, err)
	require.True(t, p.Nothing())
	f.Edit(func(d *cluster.Draft) { d.Down("n2", &cluster.Down{}) })
	p, err = controlcenter.PlanUp(snapshot(t, f), fleet, "n2", noon)
	require.NoError(t, err)
	require.Equal(t, cluster.SetDown{Node: "n2"}, p.Change)
	require.Equal(t, "node n2 is no longer down\n"+
		"  + service a: 1 instance takes new connections again\n"+
		"  + service b: 1 instance takes new connections again", p.String())
	_, err = controlcenter.PlanUp(snapshot(t, f), fleet, "n9", noon)
	require.Error(t, err)
}

func TestPlanForget(t *testing.T) {
	t.Parallel()
	f, fleet := hosts(t)
	p, err := controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n2"}, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.ForgetNode{Node: "n2"}, p.Change)
	require.Equal(t, "node n2 is forgotten\n"+
		"  - node n2: 192.168.1.2\n"+
		"  - instance b-1 of service b, which it registered\n"+
		"  warning: published by hand on its addresses, these instances stay, and other nodes check them: a/192.168.1.2:80", p.String())

	f.Edit(func(d *cluster.Draft) { d.Down("n2", &cluster.Down{Reason: "disk"}) })
	_, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n2"}, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "would be taken for well again: a/192.168.1.2:80")
	p, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n2", Force: true}, noon)
	require.NoError(t, err)
	require.Contains(t, p.String(), "  - that it is down: disk\n")

	_, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1"}, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "node n1 is alive")
	p, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1", Force: true}, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.ForgetNode{Node: "n1", Alive: true}, p.Change)

	fleet = controlcenter.Fleet{Launchers: map[string]cluster.Launcher{"n1": {}}} // its agent is gone, its launcher is not
	_, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1"}, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "drain the node (weir node drain n1) and stop its launcher first, or use --force")
	p, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1", Force: true}, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.ForgetNode{Node: "n1", Alive: true}, p.Change)
	_, err = controlcenter.PlanForget(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n9"}, noon)
	require.Error(t, err)
}

func TestPlanNodeDrain(t *testing.T) {
	t.Parallel()
	f, fleet := hosts(t)
	launched := storetest.Service(t, "c", "10.10.1.3:80")
	launched.Run = &cluster.Run{Command: []string{"/bin/c"}}
	f.Put(t, launched)
	f.Edit(func(d *cluster.Draft) {
		d.Instance("n2", "c", "c-1", &cluster.Instance{Addr: netip.MustParseAddr("192.168.1.2"), Port: 82, Weight: 1})
	})
	word := controlcenter.NodeWord{Node: "n2", Reason: "new kernel"}
	_, err := controlcenter.PlanNodeDrain(snapshot(t, f), fleet, word, noon)
	require.ErrorIs(t, err, cluster.ErrUnsafe)
	require.ErrorContains(t, err, "no instance of service b would take new connections", "and c, which moves, is not named")
	word.Force = true
	p, err := controlcenter.PlanNodeDrain(snapshot(t, f), fleet, word, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.SetNodeAdmin{Node: "n2", Admin: &cluster.NodeAdmin{Drain: true, Reason: "new kernel", Since: noon}}, p.Change)
	require.Equal(t, "node n2 is drained\n"+
		"  - service a: 1 of the 2 instances that take new connections\n"+
		"  - service b: 1 of the 1 instances that take new connections\n"+
		"  ~ service c: 1 launched instances: this node -> others, each once its substitute is ready", p.String())
	_, err = f.Commit(t.Context(), p.Change)
	require.NoError(t, err)
	p, err = controlcenter.PlanNodeDrain(snapshot(t, f), fleet, word, noon)
	require.NoError(t, err)
	require.True(t, p.Nothing())

	p, err = controlcenter.PlanNodeCordon(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n2"}, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.SetNodeAdmin{Node: "n2", Admin: &cluster.NodeAdmin{Drain: true, Cordon: true, Since: noon}}, p.Change, "it stays drained")
	p, err = controlcenter.PlanNodeUncordon(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n2"}, noon)
	require.NoError(t, err)
	require.Equal(t, cluster.SetNodeAdmin{Node: "n2"}, p.Change)
	require.Contains(t, p.String(), "+ service a: 1 instance takes new connections again")
	p, err = controlcenter.PlanNodeUncordon(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n1"}, noon)
	require.NoError(t, err)
	require.True(t, p.Nothing())
	for _, plan := range []func(*cluster.Snapshot, controlcenter.Fleet, controlcenter.NodeWord, time.Time) (controlcenter.NodePlan, error){
		controlcenter.PlanNodeDrain, controlcenter.PlanNodeCordon, controlcenter.PlanNodeUncordon,
	} {
		_, err := plan(snapshot(t, f), fleet, controlcenter.NodeWord{Node: "n9"}, noon)
		require.ErrorContains(t, err, "n9")
	}
}
