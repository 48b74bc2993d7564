package integration

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/lab"
)

// leaseAnd5 is how long the instances of a node that dies may still get connections.
const leaseAnd5 = 15 * time.Second

// TestNodeDies has the agent of one node stop beside its instance, and another node end with all that runs there. The first
// keeps its traffic, the second loses it and gets it back.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	f := w.Frontend(cluster.TCP, false)
	var all []string
	for _, host := range w.Nodes {
		address, _ := w.Serve(host, 80, false)
		all = append(all, address)
	}
	w.Publish(Service("a", f, all...))
	for _, name := range []string{"n1", "n2", "n3"} {
		w.node(name)
	}
	w.StartControlCenters(1)
	w.Agents[1].Stop()
	w.cut(w.Nodes[2], true)
	w.Agents[2].Kill()
	died := time.Now()
	for time.Since(died) < 7*time.Second { // the first lease is gone, the other is not: nobody is out yet
		require.Len(t, w.Slots(w.Nodes[0])[f], 3)
		time.Sleep(50 * time.Millisecond)
	}
	w.Eventually(leaseAnd5+promised-time.Since(died), "the dead node is out", func() bool { return len(w.Slots(w.Nodes[0])[f]) == 2 })
	t.Logf("out %s after its end", time.Since(died).Round(10*time.Millisecond))
	w.Only(w.Client, f, all[:2]...)
	rows := w.getNodes()
	require.Equal(t, []string{"alive", "unwatched", "down"}, []string{rows[0].State, rows[1].State, rows[2].State}, "%+v", rows)
	require.Contains(t, rows[1].Reason, "its agent is not in touch with etcd, but 192.168.10.2:80 answers n")
	require.Contains(t, rows[2].Reason, "and its instances do not answer n1")
	require.False(t, rows[1].Since.IsZero() || rows[2].Since.IsZero())

	w.cut(w.Nodes[2], false)
	w.Agents[2].Start()
	back := w.Eventually(10*time.Second, "it is back", func() bool { return len(w.Slots(w.Nodes[0])[f]) == 3 })
	t.Logf("in again %s after its agent started", back.Round(10*time.Millisecond))
	w.Eventually(10*time.Second, "hosts find each other again", func() bool { // the kernel goes on for a while with what it knows of a cut cable
		c, err := w.Nodes[0].Dial(t.Context(), "tcp", all[2])
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	w.Only(w.Client, f, all...)
	w.Agents[1].Start()
	w.Eventually(10*time.Second, "nothing is said of them any more", func() bool {
		gone, err := w.Store.Gone(t.Context())
		require.NoError(t, err)
		return len(gone) == 0
	})
	var what []string
	w.Eventually(10*time.Second, "both turns are told of", func() bool {
		events, err := w.Store.Events(t.Context(), "a")
		require.NoError(t, err)
		what = nil
		for _, e := range events {
			what = append(what, e.What)
		}
		return len(what) >= 2
	})
	require.Equal(t, []string{cluster.EventNodeDown, cluster.EventNodeUp}, what)
}

// cut pulls a host's cable, or plugs it in again.
func (w *World) cut(host *lab.Host, off bool) {
	w.t.Helper()
	state := "up"
	if off {
		state = "down"
	}
	out, err := host.Output("ip", "link", "set", "eth0", state)
	require.NoError(w.t, err, string(out))
}

// getNodes is what "weir get nodes" tells, by name.
func (w *World) getNodes() (rows []controlcenter.NodeRow) {
	w.t.Helper()
	require.NoError(w.t, json.Unmarshal([]byte(w.Weir("get", "nodes", "-o", "json")), &rows))
	return rows
}

// TestForgottenNode has an operator end a node that hosts what it registered itself.
func TestForgottenNode(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	f := w.Frontend(cluster.TCP, false)
	one, _ := w.Serve(w.Nodes[0], 80, false)
	two, _ := w.Serve(w.Nodes[1], 80, false)
	w.Publish(Service("a", f, one))
	w.Put("net/instances/n2/a/x", `{"address":"`+two+`"}`)
	w.Eventually(5*time.Second, "both serve", func() bool { return len(w.Slots(w.Nodes[0])[f]) == 2 })
	w.Agents[1].Stop()
	w.Weir("node", "down", "n2", "--reason", "rack 7 has no power")
	require.Equal(t, map[netip.AddrPort]int{netip.MustParseAddrPort(one): 1}, w.Slots(w.Nodes[0])[f], "the command waited for the nodes")
	require.Contains(t, w.Weir("get", "instances", "a"), "node n2 is down: rack 7 has no power")
	w.Weir("node", "down", "n2", "--clear")
	w.Only(w.Client, f, one, two)
	w.Weir("node", "forget", "n2")
	w.Only(w.Client, f, one)
	require.NotContains(t, w.Weir("get", "nodes"), "n2")
	require.False(t, strings.Contains(w.Weir("get", "instances", "a"), two))
}
