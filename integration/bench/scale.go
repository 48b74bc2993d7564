package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// Of measureScale.
const (
	scaleEach   = 10                   // open connections that each instance should have
	scaleWindow = 20 * time.Second     // in which fewer must have been wished all the time
	scaleQuota  = 0.08                 // processors of each instance, where the load is by busy
	scaleCalm   = 0.8                  // part of its target that each does before: what a connection costs beside its work is not known
	scaleWork   = 5 * time.Millisecond // of processor time for each connection, so that 16/s keep an instance busy
	scaleBusy   = 0.6                  // that each instance should be
	scaleSettle = 15 * time.Second     // until the figures of new instances are known
	scaleLimit  = 90 * time.Second     // for whatever is awaited
)

// measureScale lets the load of services that Weir runs step up to three times as much, and takes the time until every node
// sends new connections to as many instances as that needs: real launchers, load monitors, agents and connections.
func measureScale(t *trial) {
	s := newScaleStage(t)
	up, down := s.steps(t, leap{from: 2, to: 6, back: true}, pick(t, 4, 2))
	t.report(seconds("load x 3 by connections: step to 6 routable, of 2 before", up).target(10))
	t.report(seconds(fmt.Sprintf("load gone: step to 2 of 6 routable, window %s", scaleWindow), down).Row)
	up, _ = s.steps(t, leap{from: 4, to: 12}, pick(t, 3, 1))
	t.report(seconds("load x 3 by connections: step to 12 routable, of 4 before", up).target(25))
	up, _ = s.steps(t, leap{from: 2, to: 6, warm: 4}, pick(t, 3, 1))
	t.report(seconds("load x 3 by connections, 4 in the warm pool: step to 6 routable, of 2 before", up).Row)
	t.report(seconds("of that, since the decision", s.decided).target(1))
}

// measureBusy does the same with a load of processor time, by nothing else than how busy instances are, which ends at 1.
func measureBusy(t *trial) {
	s := newScaleStage(t)
	t.report(seconds(fmt.Sprintf("load x %.2g by busy alone: step to 12 routable, of 4 before", 3/scaleCalm), s.byBusy(t, pick(t, 2, 1))).target(60))
}

// timed is a row of few times, of which the longest is judged.
type timed struct {
	Row
	longest float64
}

func seconds(what string, took []time.Duration) timed {
	return timed{median(what, took), slices.Max(took).Seconds()}
}

func (r timed) target(most float64) Row {
	return r.Row.want(fmt.Sprintf("all <= %g s", most), r.longest <= most)
}

// scaleStage is the cluster of measureScale: three nodes with launchers, and a client beside them.
type scaleStage struct {
	world    *integration.World
	services int
	phase    *rand.Rand      // the steps come at any time between two rounds of the leader
	decided  []time.Duration // from the last decision to the instances being routable, of each step
}

func newScaleStage(t *trial) *scaleStage {
	s := &scaleStage{phase: rand.New(rand.NewPCG(1, 1))}
	s.world = integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, Nodes: 3, AgentArgs: integration.LoadsForAll})
	group, err := s.world.Lab.CgroupTree("launched")
	t.must(err)
	s.world.StartLaunchers("--cgroup", group)
	s.world.StartControlCenters(1)
	return s
}

// publish has a service of so many instances.
func (s *scaleStage) publish(n int, metric cluster.ScaleMetric, change func(*cluster.Service)) (name string, f cluster.Frontend) {
	s.services++
	name, f = fmt.Sprintf("scaled-%d", s.services), s.world.Frontend(cluster.TCP, false)
	s.world.Publish(s.world.Launched(name, f, func(service *cluster.Service) {
		service.Scale = &cluster.Scale{Min: n, Max: 20, Window: cluster.Duration(scaleWindow), Metrics: []cluster.ScaleMetric{metric}}
		service.Run.Drain = cluster.Duration(5 * time.Second)
		change(service)
	}))
	s.world.AwaitRoutable(f, n, scaleLimit)
	return name, f
}

func (s *scaleStage) settle(t *trial) {
	t.pause(scaleSettle + time.Duration(s.phase.Float64()*float64(5*time.Second)))
}

// leap is a step of the load, from that of so many instances to that of three times as many.
type leap struct {
	from, to, warm int
	back           bool // and back, once the figures of the new ones are known: what is not known counts as busy then
}

// steps triples the open connections several times, each time of a service of its own.
func (s *scaleStage) steps(t *trial, one leap, times int) (up, down []time.Duration) {
	s.decided = nil
	for range times {
		name, f := s.publish(one.from, cluster.ScaleMetric{Metric: "connections", Target: scaleEach}, func(service *cluster.Service) { service.Warm = one.warm })
		before := s.world.Hold(s.world.Client, f, one.from*scaleEach)
		s.settle(t)
		begin := time.Now()
		more := s.world.Hold(s.world.Client, f, (one.to-one.from)*scaleEach)
		s.world.AwaitRoutable(f, one.to, scaleLimit)
		up = append(up, time.Since(begin))
		s.decided = append(s.decided, time.Since(s.lastDecision(t, name)))
		if one.back {
			s.settle(t)
			before()
			more()
			begin = time.Now()
			s.world.AwaitRoutable(f, one.from, scaleLimit)
			down = append(down, time.Since(begin))
		}
		before()
		more()
		s.world.Withdraw(name)
	}
	return up, down
}

// lastDecision is when the number of a service's instances was changed last.
func (s *scaleStage) lastDecision(t *trial, name string) (at time.Time) {
	events, err := s.world.Store.Events(t.ctx, name)
	t.must(err)
	for _, e := range events {
		if e.What == cluster.EventScaled && e.At.After(at) {
			at = e.At
		}
	}
	return at
}

// byBusy sends four instances with quotas about what they should take, and then what twelve should.
func (s *scaleStage) byBusy(t *trial, times int) (up []time.Duration) {
	calm, rate := 30*time.Second, scaleBusy*scaleQuota/scaleWork.Seconds()
	due := evenly(4*scaleCalm*rate, 0, calm)
	due = append(due, evenly(12*rate, calm, calm+scaleLimit)...)
	for range times {
		name, f := s.publish(4, cluster.ScaleMetric{Metric: "busy", Target: scaleBusy}, func(service *cluster.Service) {
			service.Run.Env = map[string]string{lab.WorkVariable: scaleWork.String()}
			service.Run.Resources.CPU, service.Scale.Max = scaleQuota, 12
		})
		stop := s.press(t, f, due)
		t.pause(calm)
		begin := time.Now()
		s.world.AwaitRoutable(f, 4, 0) // so it was at its target
		s.world.AwaitRoutable(f, 12, scaleLimit)
		up = append(up, time.Since(begin))
		stop()
		s.world.Withdraw(name)
	}
	return up
}

// evenly spaced arrivals, so many a second: the load is the same in each sample.
func evenly(perSecond float64, from, to time.Duration) (due []time.Duration) {
	for at := from; at < to; at += time.Duration(float64(time.Second) / perSecond) {
		due = append(due, at)
	}
	return due
}

// press sends connections until it is stopped.
func (s *scaleStage) press(t *trial, f cluster.Frontend, due []time.Duration) (stop func()) {
	return t.during(func(ctx context.Context) error {
		_, err := lab.Arrive(ctx, s.world.Client.Namespace, lab.Arrivals{Frontend: integration.Address(f), Due: due, Open: 20_000})
		return err
	})
}
