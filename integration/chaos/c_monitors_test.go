package chaos

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// silentUnderMonitors freezes etcd while load monitors check instances, and a control center leads. Afterwards the leases
// of all nodes have run out at once, and nobody heard a verdict for as long.
func silentUnderMonitors(r *run) {
	const window, after = 30 * time.Second, 15 * time.Second
	m := r.members(1)
	w := r.world(integration.Options{Members: m, AgentArgs: integration.LoadsForAll})
	w.StartControlCenters(2)
	p := r.probe(w)
	f := w.Frontend(cluster.TCP, false)
	var workers []*integration.Worker
	for _, node := range w.Nodes {
		workers = append(workers, w.Hire(node, lab.Work{}))
	}
	s := integration.Workers("checked", f, &cluster.Check{Interval: cluster.Duration(time.Second)}, workers...)
	s.Balance = cluster.BalanceAdaptive
	w.Publish(s)
	least := len(workers)
	look := func(length time.Duration) {
		for began := time.Now(); time.Since(began) < length; <-time.After(100 * time.Millisecond) {
			for _, node := range w.Nodes {
				least = min(least, len(w.Slots(node)[f]))
			}
		}
	}
	m.All[0].Freeze()
	look(window)
	m.All[0].Thaw()
	leader := w.AwaitLeader(30 * time.Second)
	look(after)
	r.figure("instances_least", float64(least))
	snapshot, err := w.Store.Snapshot(r.Context())
	require.NoError(r, err)
	in, _ := snapshot.Services.Get("checked")
	down := 0
	for _, host := range in.Hosts {
		if host.Down != nil {
			down++
		}
	}
	r.figure("nodes_down", float64(down))
	require.Equal(r, len(workers), least)
	require.Zero(r, down)
	require.False(r, leader.Ended())
	p.unharmed()
	// They work all the same.
	require.NoError(r, workers[0].Kill())
	r.figure("dead_out_s", w.AwaitTargets(10*time.Second, f, workers[1:]...).Seconds())
}
