package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// Of measureDrain.
const (
	drainRate    = 2000             // new connections/s
	drainLive    = 30               // connections that are open when something is drained
	drainGrace   = 20 * time.Second // that live connections have
	drainEnd     = 8 * time.Second  // after that they end by themselves
	drainInitial = 6                // instances
)

// measureDrain takes instances out of a service that is used all the time: one by an operator's word, three by scaling down,
// and those of a node that is drained. New connections are opened at a fixed rate, by one thread; others are open when it
// begins, carry data, and end by themselves within the grace.
func measureDrain(t *trial) {
	d := newDrained(t)
	var one string
	d.step(t, "an instance drained", func() {
		one = d.world.AwaitServing(d.name, drainInitial, scaleLimit)[0]
		d.world.Drain(d.name, one, true)
	}, func(map[string]int) bool { return true })
	d.world.Drain(d.name, one, false)
	d.step(t, "scaled from 6 to 3", func() { d.world.Weir("scale", d.name, "3", "--force") }, func(on map[string]int) bool { return on["n1"]+on["n2"]+on["n3"] == 3 })
	d.step(t, "a node drained", func() { d.world.Weir("node", "drain", "n1") }, func(on map[string]int) bool { return on["n1"] == 0 })
}

// drained is a service that instances are taken out of.
type drained struct {
	world *integration.World
	name  string
	f     cluster.Frontend
}

func newDrained(t *trial) *drained {
	w := integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, Nodes: 3, AgentArgs: integration.LoadsForAll})
	w.StartLaunchers()
	w.StartControlCenters(1)
	d, n := &drained{world: w, name: "drained", f: w.Frontend(cluster.TCP, false)}, drainInitial
	w.Publish(w.Launched(d.name, d.f, func(s *cluster.Service) { s.Replicas, s.Run.Drain = &n, cluster.Duration(drainGrace) }))
	w.AwaitRoutable(d.f, n, scaleLimit)
	return d
}

// step does something under the load, until its end and that of the live connections.
func (d *drained) step(t *trial, what string, do func(), done func(on map[string]int) bool) {
	due := evenly(drainRate, 0, 2*scaleLimit)
	var answers []lab.Answer
	begin := time.Now()
	stop := t.during(func(ctx context.Context) (err error) {
		answers, err = lab.Arrive(ctx, d.world.Client.Namespace, lab.Arrivals{Frontend: integration.Address(d.f), Due: due})
		return err
	})
	live := d.live(t)
	before := time.Now()
	do()
	t.pause(drainEnd - time.Since(before))
	broken, moved := 0, 0
	for _, s := range live {
		if s.Stop().Broken {
			broken++
		}
	}
	d.world.Eventually(scaleLimit, what, func() bool { return done(d.assigned(t)) })
	t.pause(2 * time.Second)
	stop()
	took := time.Since(begin)
	serving := d.serving()
	for _, s := range live {
		if !slices.Contains(serving, s.ID()) {
			moved++
		}
	}
	t.report(drainRow(what, answers, took, broken, len(live), moved))
}

// live are connections that carry data.
func (d *drained) live(t *trial) (all []*lab.Stream) {
	for i := range drainLive {
		from := []*lab.Host{d.world.Client, d.world.Nodes[0], d.world.Nodes[1]}[i%3]
		s, err := lab.StartStream(from.Namespace, lab.StreamOptions{Frontend: integration.Address(d.f), Interval: 50 * time.Millisecond})
		t.must(err)
		all = append(all, s)
	}
	return all
}

// assigned is how many instances each node has.
func (d *drained) assigned(t *trial) map[string]int {
	ops, err := d.world.Store.Operations(t.ctx)
	t.must(err)
	on := map[string]int{}
	for node, assigned := range ops.Assigned {
		on[node] = len(assigned)
	}
	return on
}

func (d *drained) serving() (ids []string) {
	for _, there := range d.world.Serving(d.name) {
		ids = append(ids, there...)
	}
	return ids
}

func drainRow(what string, answers []lab.Answer, length time.Duration, broken, live, moved int) Row {
	var took []time.Duration
	failed, why := 0, error(nil)
	for _, a := range answers {
		switch {
		case a.Err != nil:
			failed, why = failed+1, errors.Join(why, a.Err)
		case a.ID != "":
			took = append(took, a.Took)
		}
	}
	row := p50p99(what, took)
	rate := float64(len(took)) / length.Seconds()
	row.Value = fmt.Sprintf("%d of %d new connections failed (%.0f/s, p50 %.3g ms, p99 %.3g ms); %d of %d live ones broke, %d were of instances that went",
		failed, failed+len(took), rate, row.Numbers["p50_ms"], row.Numbers["p99_ms"], broken, live, moved)
	row.Numbers["failed"], row.Numbers["broken"], row.Numbers["per_second"] = float64(failed), float64(broken), rate
	if why != nil {
		row = row.also(", the failures: %.200v", why)
	}
	return row.want(fmt.Sprintf("0 and 0 at %d/s", drainRate), failed == 0 && broken == 0 && rate > 0.95*drainRate)
}
