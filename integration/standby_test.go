package integration

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// listScales has a plain list of machines scale, some of which stand by, under connections: who is called gets new ones, who is
// let go keeps those that it has, and the list goes on while nobody leads.
func (w *World) listScales() {
	w.t.Helper()
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
	s := Service("listed", f, instances...)
	s.Instances[1].Standby, s.Instances[2].Standby = true, true
	s.Scale = &cluster.Scale{Min: 1, Max: 3}
	w.Publish(s)
	client := w.Nodes[2]
	w.Only(client, f, instances[0])
	w.Weir("scale", "listed", "3")
	w.Eventually(10*time.Second, "all are called", func() bool { return len(w.Flood(client, f, 60).ByID) == 3 })
	live := w.streamTo(client, f, instances[2])

	// Nobody leads, and the file is published again: who was called stays.
	for _, c := range w.ControlCenters {
		c.Kill()
	}
	again := *s
	again.Affinity = cluster.AffinityNone
	again.Balance = cluster.BalanceUniform
	w.Publish(&again)
	w.Only(client, f, instances...)
	w.ControlCenters[0].Start()
	w.Weir("scale", "listed", "1")
	w.Eventually(30*time.Second, "two are let go", func() bool { return len(w.Flood(client, f, 60).ByID) == 1 })
	w.Only(client, f, instances[0])
	w.endsWell(live)
	require.Contains(w.t, w.Weir("get", "instances", "listed"), "standby")
	require.Contains(w.t, w.Weir("events", "listed"), "let go "+instances[1]+", "+instances[2])
}
