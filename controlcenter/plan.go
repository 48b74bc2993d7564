package controlcenter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Plan is what a publish or withdraw would change. It is printable, and nothing has been written yet.
type Plan struct {
	Name     string           `json:"name"`
	Service  *cluster.Service `json:"service,omitempty"` // as it would be written; nil: it would be withdrawn
	Previous *cluster.Service `json:"-"`                 // as it stands; nil: it does not exist
	Steps    []Step           `json:"steps"`             // none: nothing would change
	Warnings []string         `json:"warnings,omitempty"`

	refused   bool // it was not carried out, and String says what it would have done
	allocated bool // its VIPs were chosen here, so when somebody else takes them others will do
}

// Nothing says that everything already is as wanted.
func (p Plan) Nothing() bool { return len(p.Steps) == 0 }

// Change is what to commit.
func (p Plan) Change() cluster.Change {
	if p.Service == nil {
		return cluster.Withdraw{Service: p.Previous}
	}
	return cluster.Publish{Service: p.Service, Previous: p.Previous}
}

// String is one line for the service and one for each step and warning.
func (p Plan) String() string {
	lines := []string{fmt.Sprintf("service %s %s", p.Name, p.verb())}
	for _, s := range p.Steps {
		lines = append(lines, "  "+s.String())
	}
	for _, w := range p.Warnings {
		lines = append(lines, "  warning: "+w)
	}
	return strings.Join(lines, "\n")
}

// verb is what is done, or would have been.
func (p Plan) verb() string {
	done, refused := "changes", "would change"
	switch {
	case p.Nothing():
		done, refused = "is already as wanted", "is already as wanted"
	case p.Service == nil:
		done, refused = "is withdrawn", "would be withdrawn"
	case p.Previous == nil:
		done, refused = "is created", "would be created"
	}
	if p.refused {
		return refused
	}
	return done
}

// PlanPublish says what publishing the service would change. The error is a *Refusal with everything that speaks
// against it; a frontend that belongs to another service makes it a conflict.
func PlanPublish(snapshot *cluster.Snapshot, service *cluster.Service) (Plan, error) {
	plans, err := PlanAll(snapshot, []Entry{{Service: service}})
	if err != nil {
		return Plan{}, err
	}
	return plans[0], nil
}

// PlanAll plans several services as if they were published one after the other.
func PlanAll(snapshot *cluster.Snapshot, entries []Entry) ([]Plan, error) {
	return planAll(newLedger(snapshot), entries)
}

func planAll(l *ledger, entries []Entry) ([]Plan, error) {
	refusal, seen := &Refusal{}, map[string]bool{}
	var plans []Plan
	for _, e := range entries {
		refusal.Faults = append(refusal.Faults, e.faults...)
		if e.Service.Name != "" && seen[e.Service.Name] { // a missing name is a mistake of its own
			refusal.Faults = append(refusal.Faults, Fault{File: e.File, Line: e.line("name"), Problem: cluster.Problem{
				Object: "service " + e.Service.Name, Field: "name", What: "it is given twice", Fix: "remove one",
			}})
			continue
		}
		seen[e.Service.Name] = true
		plan, faults := l.plan(e.Service)
		e.locate(faults)
		refusal.Faults = append(refusal.Faults, e.unexplained(faults)...)
		plans = append(plans, plan)
	}
	if err := refusal.err(); err != nil {
		return nil, err
	}
	return plans, nil
}

func (l *ledger) plan(wanted *cluster.Service) (Plan, []Fault) {
	previous, next := l.services[wanted.Name], *wanted
	p := Plan{Name: wanted.Name, Service: &next, Previous: previous}
	next.CreateRevision, next.ModRevision = 0, 0
	refusal := &Refusal{}
	if previous != nil {
		next.CreateRevision, next.ModRevision = previous.CreateRevision, previous.ModRevision
		l.leave(previous)
	}
	if len(next.VIPs) == 0 && previous != nil && len(previous.VIPs) > 0 {
		next.VIPs = previous.VIPs // clients know it by now
	} else if len(next.VIPs) == 0 && !l.offline {
		vips, problem := l.allocate(&next)
		if problem != nil {
			refusal.add(*problem)
		}
		next.VIPs, p.allocated = vips, true
	}
	refusal.add(next.Validate(l.config)...)
	refusal.Faults = append(refusal.Faults, l.check(&next)...)
	if text, err := json.Marshal(&next); err == nil && len(text) > cluster.MaxFileBytes {
		refusal.add(cluster.Problem{Object: "service " + next.Name, What: tooLarge, Fix: "shorten the labels, or split the service"})
	}
	l.enter(&next)
	p.Steps, p.Warnings = steps(previous, &next), l.warnings(&next)
	if p.Nothing() {
		p.Service = previous
	}
	return p, refusal.Faults
}

// PlanWithdraw says what withdrawing a service would take away. Of one that is not published, or that nobody can read, that is
// what Weir still runs of it.
func PlanWithdraw(ctx context.Context, store Store, snapshot *cluster.Snapshot, name string) (Plan, error) {
	in, err := find(snapshot, name)
	if err != nil {
		return planOrphans(ctx, store, name, err)
	}
	p := Plan{Name: name, Previous: in.Service, Steps: []Step{{Sign: "-", What: "service " + name}}}
	for _, f := range in.Service.Frontends() {
		p.Steps = append(p.Steps, Step{Sign: "-", What: "frontend " + f.String()})
	}
	for _, i := range in.Service.Instances {
		p.Steps = append(p.Steps, Step{Sign: "-", What: "instance " + i.ID})
	}
	switch n := len(in.Registered); {
	case n > 0 && in.Service.Launched():
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d instances that Weir runs are drained and stopped", n))
	case n > 0:
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d instances that nodes registered stay until their nodes remove them", n))
	}
	return p, nil
}

// planOrphans plans to end what runs of a service that is not there; missing says that it is not.
func planOrphans(ctx context.Context, store Store, name string, missing error) (Plan, error) {
	ops, err := store.Operations(ctx)
	if err != nil {
		return Plan{}, errors.Join(missing, fmt.Errorf("read which instances run: %w", err))
	}
	n := runs(name, ops)
	if n == 0 || ops.Scaled[name].Withdrawn {
		return Plan{}, missing
	}
	return Plan{
		Name: name, Previous: &cluster.Service{Name: name, Run: &cluster.Run{}},
		Steps:    []Step{{Sign: "-", What: fmt.Sprintf("%d instances that run", n)}},
		Warnings: []string{"it is not published, or nobody can read it"},
	}, nil
}

// runs is how many instances of a service are assigned to nodes, or run there all the same.
func runs(name string, ops *cluster.Operations) int {
	ids := map[string]bool{}
	for _, assigned := range ops.Assigned {
		for id, a := range assigned {
			if a.Service == name {
				ids[id] = kept(a)
			}
		}
	}
	for _, launched := range ops.Launched {
		for id, l := range launched {
			if _, known := ids[id]; l.Service == name && !known {
				ids[id] = !l.Over()
			}
		}
	}
	n := 0
	for _, there := range ids {
		if there {
			n++
		}
	}
	return n
}

func (l *ledger) warnings(s *cluster.Service) (out []string) {
	weights := map[int]bool{}
	for _, i := range s.Instances {
		weights[i.Weight] = true
	}
	if s.Balance == cluster.BalanceUniform && len(weights) > 1 {
		out = append(out, "balance is uniform, so the weights of the instances do not count: use static to make them count")
	}
	if len(s.Instances) > 0 && !slices.ContainsFunc(s.Instances, func(i cluster.Instance) bool { return !i.Standby }) {
		out = append(out, fmt.Sprintf("all of its instances stand by: connections will %s until a control center calls one", meanwhile(s)))
	}
	if len(s.Instances)+len(l.registered(s.Name)) == 0 {
		out = append(out, withoutInstance(s))
	}
	return out
}

// withoutInstance says what becomes of connections while a service has no instance, and who is to give it one.
func withoutInstance(s *cluster.Service) string {
	if !s.Launched() {
		return "it has no instance: connections will be refused until it has one"
	}
	return fmt.Sprintf("it has no instance yet: connections will %s until one that Weir starts is ready", meanwhile(s))
}

// meanwhile is what becomes of connections while nobody serves, and somebody is about to.
func meanwhile(s *cluster.Service) string {
	if s.Sleeps() {
		return "wait"
	}
	return "be refused"
}
