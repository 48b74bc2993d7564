package chaos

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
)

// silentWatch leaves out the events of a watch that stays open, first of a change and then of a deletion.
func silentWatch(r *run) {
	w := r.world(integration.Options{Nodes: 1, Idle: true})
	a := w.Agents[0]
	relay := r.relay(w, a)
	a.Start()
	w.AwaitAgents(1)
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	w.Publish(integration.Service("changed", f, p.addresses[0]))
	relay.mute.Store(true)
	missed := func(change func() int64) {
		lost, began := relay.lost.Load(), time.Now()
		a.AwaitRevision(change(), 40*time.Second)
		r.most("stale_s", seconds(began))
		require.Greater(r, relay.lost.Load(), lost, "no event was left out")
	}
	missed(func() int64 { return w.Write(integration.Service("changed", f, p.addresses[1])) })
	w.Only(w.Nodes[0], f, p.addresses[1])
	missed(func() int64 {
		done, err := controlcenter.Withdraw(r.Context(), w.Store, "changed", controlcenter.How{Force: true})
		require.NoError(r, err)
		return done.Revision
	})
	require.NotContains(r, w.Slots(w.Nodes[0]), f)
	relay.mute.Store(false)
	began := time.Now()
	a.AwaitRevision(w.Write(integration.Service("changed", f, p.addresses[2])), 10*time.Second)
	r.figure("then_by_event_s", seconds(began))
	p.unharmed()
	require.LessOrEqual(r, r.line.Figures["stale_s"], 30.0)
}

// follower watches etcd and says that it lives, as an agent does.
type follower struct {
	store *etcd.Store
	seen  atomic.Int64 // revision
}

// followers begin to watch; they end with the test.
func (r *run) followers(n int, m *integration.Members) (all []*follower) {
	r.Helper()
	var busy sync.WaitGroup
	for i := range n {
		store, err := etcd.Open(r.Context(), etcd.Config{Endpoints: m.Endpoints()})
		require.NoError(r, err)
		one := &follower{store: store}
		busy.Go(func() { _ = store.Alive(r.Context(), fmt.Sprintf("herd-%d", i)) }) // nil: it ends with the context
		busy.Go(func() {
			_ = store.Watch(r.Context(), etcd.WatchOptions{}, func(s *cluster.Snapshot) { one.seen.Store(s.Revision) })
		})
		all = append(all, one)
	}
	r.Cleanup(func() { // the context of the test is over by now
		busy.Wait()
		for _, one := range all {
			require.NoError(r, one.store.Close())
		}
	})
	return all
}

// herd has etcd die and come back under 200 watches.
func herd(r *run) {
	const n, outage = 200, 5 * time.Second
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	all := r.followers(n, m)
	every := func(is func(*follower) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(all, func(one *follower) bool { return !is(one) }) }
	}
	reached := func(revision int64) func() bool {
		return every(func(one *follower) bool { return one.seen.Load() >= revision })
	}
	w.Eventually(30*time.Second, "all have listed", reached(w.Write(integration.Service("written", f, p.addresses[0]))))
	m.All[0].Kill()
	<-time.After(outage) // the fault itself
	m.All[0].Start()
	peak, took := r.busiest(m.All[0], every(func(one *follower) bool { return one.store.Status().Connected }))
	r.figure("t_all_back_s", took.Seconds())
	revision := w.Write(integration.Service("written", f, p.addresses[1]))
	w.Eventually(30*time.Second, "all see what was written since", reached(revision))
	w.Agents[0].AwaitRevision(revision, 30*time.Second)
	r.figure("peak_requests_per_s", peak)
	r.figure("etcd_cpu_s", m.All[0].CPU().Seconds())
	relists := 0
	for _, one := range all {
		relists += one.store.Status().Relists
	}
	r.figure("relists", float64(relists))
	w.Only(w.Nodes[0], f, p.addresses[1])
	p.unharmed()
	require.Less(r, peak, 500.0)
	require.Zero(r, relists)
}

// busiest counts the requests of a member that has just begun until something is so, and returns those of the busiest second.
func (r *run) busiest(e *integration.Member, until func() bool) (peak float64, took time.Duration) {
	r.Helper()
	type sample struct {
		at    time.Time
		count float64
	}
	window := []sample{{at: time.Now()}} // it counts from 0
	for began := time.Now(); took == 0 || time.Since(began) < took+time.Second; <-time.After(50 * time.Millisecond) {
		require.Less(r, time.Since(began), 40*time.Second, "not all are back")
		now := sample{time.Now(), requests(e)}
		window = append(window, now)
		for now.at.Sub(window[0].at) > time.Second {
			window = window[1:]
		}
		peak = max(peak, now.count-window[0].count)
		if took == 0 && until() {
			took = time.Since(began)
		}
	}
	return peak, took
}
