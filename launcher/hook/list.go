package hook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// look asks the hook for all instances, by id. The second of two with one id, and what has an id that nobody can have
// asked for, is in the problems.
func (d *Driver) look(ctx context.Context) (map[string]entry, map[string][]cluster.Problem, error) {
	var l listed
	if err := d.ask(ctx, list, request{}, &l); err != nil {
		return nil, nil, err
	}
	found, problems := map[string]entry{}, map[string][]cluster.Problem{}
	slices.SortStableFunc(l.Instances, func(a, b entry) int { return cmp.Or(cmp.Compare(a.ID, b.ID), a.Host.Compare(b.Host)) })
	for _, e := range l.Instances {
		complain := func(what, fix string) {
			problems[e.ID] = append(problems[e.ID], cluster.Problem{Object: "instance " + plain.Line(e.ID, 80), What: plain.Line(what, 500), Fix: fix})
		}
		first, twice := found[e.ID]
		switch {
		case cluster.ValidID(e.ID) != "":
			return nil, nil, fmt.Errorf("hook list: %s: %w", cluster.ValidID(e.ID), launcher.ErrUntrue)
		case e.Kind != cluster.KindInstance && e.Kind != cluster.KindNode:
			return nil, nil, fmt.Errorf("hook list: kind %q of %s is unknown: %w", plain.Line(string(e.Kind), 80), e.ID, launcher.ErrUntrue)
		case twice:
			complain(fmt.Sprintf("the hook lists it twice, at %s and at %s", first.Host, e.Host), "end one of them where it runs")
			continue
		}
		found[e.ID] = e
		if e.Problem != "" {
			complain("the hook says: "+e.Problem, "")
		}
	}
	return found, problems, nil
}

// find is nil when the hook does not have the instance.
func (d *Driver) find(ctx context.Context, id string) (*entry, error) {
	found, _, err := d.look(ctx)
	if e, there := found[id]; err == nil && there {
		return &e, nil
	}
	return nil, err
}

// settle looks until the list agrees, or says at last why it does not.
func (d *Driver) settle(ctx context.Context, id string, agrees func(*entry) error) error {
	for deadline, pause := time.Now().Add(d.config.Settle), 20*time.Millisecond; ; pause = min(2*pause, time.Second) {
		e, err := d.find(ctx, id)
		if err == nil {
			err = agrees(e)
		}
		if err == nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// List tells of what was noted and what the hook has. Without an answer of the hook nothing is known.
func (d *Driver) List(ctx context.Context) ([]launcher.Status, error) {
	notes, broken := d.notes()
	if notes == nil {
		return nil, broken
	}
	found, problems, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(found)
	for id := range notes {
		all[id] = found[id]
	}
	out := make([]launcher.Status, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		e, there := found[id]
		s := notes[id].status(id, e, there)
		s.Problems = append(s.Problems, problems[id]...)
		out = append(out, s)
	}
	return out, broken
}

// status says what note (nil: none) and hook make of an instance together.
func (n *note) status(id string, e entry, there bool) launcher.Status {
	s := launcher.Status{Kind: e.Kind, ID: id, Service: e.Service, Host: e.Host, State: launcher.Running}
	complain := func(what, fix string) {
		s.Problems = append(s.Problems, cluster.Problem{Object: "instance " + id, What: what, Fix: fix})
	}
	if n == nil {
		s.Service = plain.Line(s.Service, 80)
		complain("the hook has it, and nobody here asked for it", "ensure it, or stop it")
		return s
	}
	s.Kind, s.Service, s.Host, s.Started, s.Starts, s.Exits = n.Spec.Kind, n.Spec.Service, n.Host, n.Started, n.Starts, n.Exits
	switch {
	case n.Phase == releasing:
		s.State = launcher.Stopping
		complain(fmt.Sprintf("it is to be released, and the hook has not done so (%s)", cmp.Or(n.Why, "it was stopped")), "stop it again, or look after the hook")
	case n.Phase == acquiring:
		s.State = launcher.Exited
		complain("it was being acquired when the launcher ended", "ensure it again: the hook is asked with the same key")
	case !there:
		s.State = launcher.Exited
		complain("the hook does not have it any more", "ensure it again")
	case e.Kind != n.Spec.Kind:
		complain(fmt.Sprintf("the hook acquired %s and lists %s", named(n.Spec.Kind), named(e.Kind)), "stop it, and look after the hook")
	case e.Host != n.Host:
		complain(fmt.Sprintf("the hook acquired it at %s and lists it at %s", n.Host, e.Host), "stop it, and look after the hook")
	}
	return s
}
