package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// pass brings the node up to the newest snapshot: routes that go, rules, routes that come, and then the news.
func (a *Agent) pass(ctx context.Context) error {
	defer a.busy()()
	in := a.take()
	if in.snapshot == nil {
		return nil
	}
	if err := a.look(ctx, in); err != nil {
		return err
	}
	drifted := a.doubt != nil && a.doubt.found != nil
	if a.wouldForget(in.snapshot) {
		return a.forgetNothing(in.snapshot)
	}
	a.want = rules.Build(a.want, in.snapshot, a.options())
	if in.stale && a.wouldRevert() {
		return a.revertNothing(in.snapshot)
	}
	done, err := a.write(ctx)
	if err != nil {
		return err
	}
	a.repaired(in.taken)
	a.rest()
	if a.flows.want(in.snapshot, a.have, a.want, done.plan, drifted) {
		a.flusher.Kick()
	}
	a.publish(in, done.plan, slices.Concat(done.problems, a.want.Problems, a.surroundings, a.beside(), a.fights(), a.waking.problems(a.want)))
	return errors.Join(done.routes, a.takeOver(ctx, in.snapshot))
}

// written is what came of writing.
type written struct {
	plan     *rules.Plan
	problems []cluster.Problem
	routes   error // the rules are right all the same
}

func (a *Agent) take() inbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.inbox
	in.taken = time.Now()
	a.inbox.foreign = nil
	return in
}

// look reads the kernel when nothing is known of it, when somebody else changed it, or when it is time to.
func (a *Agent) look(ctx context.Context, in inbox) error {
	a.suspect(in)
	if a.have != nil && a.doubt == nil {
		return nil
	}
	return a.read(ctx)
}

func (a *Agent) read(ctx context.Context) (err error) {
	start, refused := time.Now(), map[cluster.Frontend]rules.Quarantine(nil)
	if a.have != nil {
		refused = a.have.Quarantined()
	}
	a.host(ctx)
	if a.have, err = a.kernel.Read(ctx); err != nil {
		return err
	}
	a.checked = time.Now()
	a.c.Metrics.read.Observe(time.Since(start).Seconds())
	a.compare(refused)
	if a.doubt != nil && a.doubt.found == nil {
		a.doubt = nil
	}
	return nil
}

// write goes the safe order: a route without rules would lead nowhere.
func (a *Agent) write(ctx context.Context) (written, error) {
	vips := a.want.Sets[rules.VIPs]
	removed := a.routes.remove(vips)
	done, err := a.carry(ctx)
	if err != nil {
		return done, err
	}
	if done.routes = errors.Join(removed, a.routes.add(vips)); done.routes != nil {
		done.problems = append(done.problems, cluster.Problem{
			Object: "node", Field: "routes", What: "VIP routes cannot be set, so clients on this node may not reach VIPs: " + done.routes.Error(),
			Fix: "look whether another program removes routes of protocol weir (87) or the link weir0",
		})
	}
	return done, nil
}

// carry writes the rules. When the kernel holds something else than remembered it looks again, once.
func (a *Agent) carry(ctx context.Context) (done written, err error) {
	start := time.Now()
	for attempt := 0; ; attempt++ {
		done.plan = rules.Diff(a.have, a.want)
		if done.problems, err = rules.Carry(ctx, a.kernel, a.have, done.plan); err == nil {
			break
		}
		a.have = nil
		if !errors.Is(err, rules.ErrShadow) || attempt > 0 {
			return done, err
		}
		a.suspectWrite(done.plan, start)
		if err := a.read(ctx); err != nil {
			return done, err
		}
	}
	a.wrote = a.want
	if !done.plan.Empty() {
		a.c.Metrics.apply.Observe(time.Since(start).Seconds())
		a.c.Metrics.writes.Add(float64(done.plan.Writes()))
	}
	return done, nil
}

// wouldForget says whether a snapshot is empty without anybody ever having published, or while deletions are held back,
// and rules are in the kernel: then the store was lost, not the services. The snapshot file, which says what to hold back
// after a restart, is written behind the rules.
func (a *Agent) wouldForget(s *cluster.Snapshot) bool {
	return (!s.Ready || s.Held != nil) && s.Services.Len() == 0 && len(a.have.Placed) > 0
}

func (a *Agent) forgetNothing(s *cluster.Snapshot) error {
	a.note([]cluster.Problem{{Object: "node", What: "etcd holds no service and was never published to, but this node has rules: they are kept",
		Fix: "restore etcd or publish again; to remove the rules, run weir rules clean"}})
	a.c.Logger.Warn("etcd is empty and was never published to: rules are kept", "revision", s.Revision, "frontends", len(a.have.Placed))
	return nil
}

// wouldRevert says whether what is wanted takes away or changes what the kernel holds. The snapshot file is written behind
// the rules, so where the two differ the rules are newer. Where they are gone the file is all there is.
func (a *Agent) wouldRevert() bool {
	return slices.ContainsFunc(rules.Diff(a.have, a.want).Changes, func(c rules.Change) bool { return c.Have.Mode != rules.Absent })
}

func (a *Agent) revertNothing(s *cluster.Snapshot) error {
	a.note([]cluster.Problem{{Object: "node", What: "etcd does not answer, and the snapshot file is older than the rules in the kernel: they are kept",
		Fix: "see that etcd answers"}})
	a.c.Metrics.stale.Set(1)
	a.c.Logger.Warn("the snapshot file is older than the rules in the kernel: they are kept", "revision", s.Revision, "frontends", len(a.have.Placed))
	return nil
}

func (a *Agent) options() rules.Options {
	return rules.Options{KeepSource: a.c.KeepSource, Links: a.links(), Budget: a.c.Budget, Node: a.c.Node, Ping: a.c.Ping, NoTables: a.c.NoTables,
		NoHold: a.c.Knocks == nil || !a.waking.able()}
}

// links matter only to decide which kept sources replies would bypass this node for.
func (a *Agent) links() []netip.Prefix {
	if len(a.c.KeepSource) == 0 {
		return nil
	}
	return AttachedNetworks()
}

// publish makes the result visible and, if somebody waits for it or it says something new, reports it.
func (a *Agent) publish(in inbox, plan *rules.Plan, problems []cluster.Problem) {
	if held := in.snapshot.Held; held != nil {
		problems = append(problems, cluster.Problem{Object: "guard", What: "deletions are held back: " + held.Reason,
			Fix: "if they are meant, run weir guard accept --revision " + itoa(held.Revision)})
	}
	slices.SortFunc(problems, cluster.Problem.Compare)
	problems = cluster.MergeProblems(in.snapshot.Problems, slices.Compact(problems)) // the former may be many

	a.mu.Lock()
	before, fighting := a.status, a.fight.on(time.Now())
	a.status.Snapshot, a.status.Want, a.status.Stale, a.status.Failure = in.snapshot, a.want, in.stale, nil
	a.status.Problems, a.status.Refused = problems, refused(a.have)
	fresh, took := before.Snapshot != in.snapshot, time.Since(in.taken)
	if fresh {
		took = time.Since(in.arrived)
		a.status.Took, a.status.At = took, time.Now()
	}
	if !plan.Empty() {
		a.status.Plan = plan
	}
	news := in.snapshot.Barrier > before.barrier() || !slices.Equal(before.Problems, a.status.Problems) || before.Stale != in.stale || before.Snapshot == nil
	a.mu.Unlock()

	a.logProblems(before.Problems, problems)
	a.c.Metrics.see(a.want, a.have, in, len(problems))
	if fresh && !in.stale {
		a.saver.Kick()
	}
	if news {
		a.teller.Kick()
	}
	switch {
	case before.Snapshot == nil:
		a.c.Logger.Info("ready", "revision", in.snapshot.Revision, "services", in.snapshot.Services.Len(), "written", plan.Writes(), "stale", in.stale, "took", took.Round(time.Microsecond).String())
	case !plan.Empty() && (fresh || !fighting): // one side of a fight each second is no news
		a.c.Logger.Info("applied", "revision", in.snapshot.Revision, "written", plan.Writes(), "took", took.Round(time.Microsecond).String())
	default:
		a.c.Logger.Debug("nothing to do", "revision", in.snapshot.Revision)
	}
}

func (a *Agent) note(problems []cluster.Problem) {
	a.mu.Lock()
	before := a.status.Problems
	a.status.Problems = problems
	a.mu.Unlock()
	if !slices.Equal(before, problems) {
		a.logProblems(before, problems)
		a.c.Metrics.problems.Set(float64(len(problems)))
		a.teller.Kick()
	}
}

// refused are the services of which the kernel refused a frontend, sorted.
func refused(have *rules.State) (services []string) {
	for _, q := range have.Quarantined() {
		if q.Balancer != nil {
			services = append(services, q.Balancer.Service)
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}
