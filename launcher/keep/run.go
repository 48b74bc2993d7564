package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// start starts an instance that does not run, when it is time to.
func (w *ward) start(ctx context.Context, n news) time.Duration {
	a := n.assignment
	if end := lastEnd(n.status); end.After(w.ended) {
		w.ended, w.ready, w.asked = end, false, time.Time{}
		w.crashes.ended(n.status.Started, end)
		w.retry = end.Add(w.crashes.pause())
		w.ran = time.Time{}
		if !n.status.Exits[len(n.status.Exits)-1].Wanted {
			w.crashed(end, lastExit(n.status), n.status.Output, w.own.Starts+n.status.Starts)
		}
		w.keeper.c.Metrics.crashes.Inc()
		w.keeper.c.Logger.Warn("an instance ended by itself", "service", a.Service, "instance", w.id, "exit", lastExit(n.status), "next", w.crashes.pause().String())
	}
	if left := w.asked.Add(3 * w.keeper.c.look(orProcess(a.Run.Driver))).Sub(n.now); left > 0 {
		return left // what is known of it may be older than its start
	}
	w.vanished(n)
	if wait := w.retry.Sub(n.now); wait > 0 {
		w.told(a, n, cluster.PhaseCrashed, func(l *cluster.Launched) { l.NextTry = w.retry.UTC() })
		return wait
	}
	if port, outside := w.outside(a); outside {
		w.refuse(a, cluster.Problem{
			Object: "instance " + w.id, Field: "ports", What: fmt.Sprintf("port %d is outside of %d-%d, which this node gives to instances", port, w.keeper.c.Self.Ports.From, w.keeper.c.Self.Ports.To),
			Fix: "see --ports of the launcher",
		}, 0)
		return idle
	}
	w.begun() // before it can say anything
	again, err := w.ensure(ctx, a)
	switch {
	case ctx.Err() != nil:
		return idle
	case again:
		return 0
	case errors.Is(err, launcher.ErrDiffers) && n.status != nil && n.status.State == launcher.Exited:
		if err = w.end(ctx, a); err == nil { // what ended ran by another word than is to be started
			return 0
		}
	case err == nil, errors.Is(err, launcher.ErrDiffers): // only in what says nothing to an instance that runs
		w.mine, w.ready, w.asked, w.stuck = true, false, time.Now(), nil
		w.told(a, n, cluster.PhaseStarting, nil)
		w.keeper.c.Metrics.starts.Inc()
		return probing
	case errors.Is(err, launcher.ErrPortBusy):
		w.refuse(a, problem(w.id, "run", err), cmp.Or(launcher.BusyPort(err), firstPort(a)))
		return idle
	case errors.Is(err, launcher.ErrRefused):
		w.refuse(a, cmp.Or(firstProblem(err), problem(w.id, "run", err)), 0)
		return idle
	}
	w.crashes.failed()
	w.retry = time.Now().Add(w.crashes.pause())
	w.keeper.c.Logger.Warn("an instance could not be started", "service", a.About(), "instance", w.id, "err", err, "next", w.crashes.pause().String())
	p := problem(w.id, "run", err)
	w.told(a, n, cluster.PhaseCrashed, func(l *cluster.Launched) {
		l.NextTry, w.stuck = w.retry.UTC(), &cluster.Launched{Problem: &p}
	})
	return time.Until(w.retry)
}

// ensure starts an instance once there is a place among those that start. Drivers limit how long one start may take. Again:
// while it waited something new came in; perhaps it is not wanted any more.
func (w *ward) ensure(ctx context.Context, a *cluster.Assignment) (again bool, err error) {
	driver := orProcess(a.Run.Driver)
	select {
	case w.keeper.slots[driver] <- struct{}{}:
	case <-w.wake:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-w.keeper.slots[driver] }()
	return false, w.keeper.c.Drivers[driver].Ensure(ctx, specOf(w.id, a))
}

// outside is a port that the node does not give to instances. Those that somebody else runs have ports of their own.
func (w *ward) outside(a *cluster.Assignment) (port uint16, is bool) {
	if a.Run.Driver == cluster.DriverExternal {
		return 0, false
	}
	for _, name := range slices.Sorted(maps.Keys(a.Ports)) {
		if !w.keeper.c.Self.Ports.Contains(a.Ports[name]) {
			return a.Ports[name], true
		}
	}
	return 0, false
}

// tend looks whether an instance that runs is ready, and shows it to the nodes as it is wanted.
func (w *ward) tend(ctx context.Context, n news) time.Duration {
	w.ran = n.status.Started
	if n.assignment.Kind == cluster.KindNode { // it shows itself: its agent and its launcher join
		w.ready = true
	}
	if !w.ready {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		err := w.keeper.c.Probe(limited, n.assignment.Check, checkAddress(n.assignment, n.status))
		cancel()
		if err != nil || ctx.Err() != nil {
			if w.mine { // else it may have been ready for days, and nodes send connections to it
				w.slow(n, err)
				w.told(n.assignment, n, cluster.PhaseStarting, nil)
			}
			return probing
		}
		w.ready = true
		w.keeper.c.Logger.Info("an instance is ready", "service", n.assignment.Service, "instance", w.id)
	}
	w.told(n.assignment, n, cluster.PhaseReady, nil)
	return idle
}

// slowStart is after how long it is told that an instance that runs is not ready.
const slowStart = 10 * time.Second

// slow takes note of an instance that takes long to be ready: what its check said, and what it wrote, when that was found.
func (w *ward) slow(n news, why error) {
	if n.now.Sub(w.asked) < slowStart || why == nil || w.stuck != nil {
		return
	}
	w.stuck = &cluster.Launched{Output: n.status.Output, Problem: &cluster.Problem{
		Object: "instance " + w.id, Field: "check", What: plain.Line(fmt.Sprintf("it runs, and is not ready after %s: %v", slowStart, why), 500),
		Fix: "see weir logs " + n.assignment.Service + " --instance " + w.id + ", and whether it listens on $HOST_IP:$PORT",
	}}
}

// refuse says that this node does not run an instance.
func (w *ward) refuse(a *cluster.Assignment, p cluster.Problem, busy uint16) {
	w.told(a, news{now: time.Now()}, cluster.PhaseRefused, func(l *cluster.Launched) { l.Problem, l.PortBusy = &p, busy })
}

// told says how the instance is, and shows it to the nodes while it is ready.
func (w *ward) told(a *cluster.Assignment, n news, phase cluster.Phase, and func(*cluster.Launched)) {
	l := cluster.Launched{Kind: a.Kind, Service: a.Service, For: a.For, Phase: phase, Version: a.Version, Since: w.launched.Since}
	if phase != w.launched.Phase {
		l.Since, w.stuck = n.now.UTC().Truncate(time.Millisecond), nil
	}
	if st := n.status; st != nil {
		l.PID, l.Starts, l.Exit = st.PID, st.Starts, lastExit(st)
		switch {
		case phase == cluster.PhaseCrashed, phase == cluster.PhaseStarting && st.State == launcher.Exited:
			l.Output = st.Output
		case phase == cluster.PhaseStarting && w.launched.Phase == phase:
			l.Output = w.launched.Output // of the life before, until this one is ready or told of as late
		}
		l.Problem = together(st.Problems)
	}
	if and != nil {
		and(&l)
	}
	if w.stuck != nil {
		l.Problem = w.stuck.Problem
		if len(w.stuck.Output) > 0 {
			l.Output = w.stuck.Output
		}
	}
	w.fill(&l, n.status, n.now)
	w.launched = l
	var shown *cluster.Instance
	if phase == cluster.PhaseReady && a.Kind == cluster.KindInstance {
		shown = instanceOf(w.id, w.keeper.c.Node, a, n.status)
	}
	w.keeper.herald.tell(w.id, a.About(), &l, shown)
}

// instanceOf is the instance as every node sees it.
func instanceOf(id, node string, a *cluster.Assignment, st *launcher.Status) *cluster.Instance {
	i := &cluster.Instance{
		ID: id, Addr: addressOf(a, st), Weight: 1, Node: node,
		Standby: a.Wanted == cluster.WantStandby, Draining: a.Wanted == cluster.WantDrained,
	}
	if port, only := a.Ports[""]; only && len(a.Ports) == 1 {
		i.Port = port
	} else {
		i.Ports = a.Ports
	}
	return i
}

// addressOf is where a driver says that the instance is, or else its node's.
func addressOf(a *cluster.Assignment, st *launcher.Status) netip.Addr {
	if st != nil && st.Host.IsValid() {
		return st.Host
	}
	return a.Address
}

// checkAddress is the port that its check is for, or else the first.
func checkAddress(a *cluster.Assignment, st *launcher.Status) netip.AddrPort {
	port := firstPort(a)
	if a.Check != nil && a.Check.Port != "" {
		port = a.Ports[a.Check.Port]
	}
	return netip.AddrPortFrom(addressOf(a, st), port)
}

func firstPort(a *cluster.Assignment) uint16 {
	for _, name := range slices.Sorted(maps.Keys(a.Ports)) {
		return a.Ports[name]
	}
	return 0
}

// specOf is the assignment in the words of a driver.
func specOf(id string, a *cluster.Assignment) launcher.Spec {
	s := launcher.Spec{
		ID: id, Service: a.About(), Command: a.Run.Command, Image: a.Run.Image, Env: a.Run.Env, Host: a.Address, LogAddress: a.Run.Log,
		Resources: launcher.Resources{CPU: a.Run.Resources.CPU, Memory: uint64(a.Run.Resources.Memory)},
		User:      a.Run.User, WorkDir: a.Run.Dir, Grace: a.Run.Grace,
	}
	if s.Kind = a.Kind; s.Kind == cluster.KindNode {
		s.Labels, s.Host = a.Run.Nodes, netip.Addr{}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Ports)) {
		s.Ports = append(s.Ports, cluster.Port{Name: name, Port: a.Ports[name], Protocol: cluster.TCP})
	}
	return s
}

func lastEnd(st *launcher.Status) time.Time {
	if st == nil || len(st.Exits) == 0 {
		return time.Time{}
	}
	return st.Exits[len(st.Exits)-1].At
}

func lastExit(st *launcher.Status) string {
	if len(st.Exits) == 0 {
		return ""
	}
	return st.Exits[len(st.Exits)-1].String()
}

func problem(id, field string, err error) cluster.Problem {
	return cluster.Problem{Object: "instance " + id, Field: field, What: plain.Line(err.Error(), 1000), Fix: "see weir logs and the launcher's log on that node"}
}

// together is the first problem, with what others say of the same field.
func together(problems []cluster.Problem) *cluster.Problem {
	if len(problems) == 0 {
		return nil
	}
	out := problems[0]
	for _, p := range problems[1:] {
		if p.Object == out.Object && p.Field == out.Field {
			out.What = plain.Line(out.What+"; "+p.What, 1000)
		}
	}
	return &out
}

func firstProblem(err error) cluster.Problem {
	for _, p := range launcher.Problems(err) {
		return p
	}
	return cluster.Problem{}
}
