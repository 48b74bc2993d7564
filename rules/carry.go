package rules

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Carry applies a plan and records it in the state. If the kernel rejects it, the frontends that cause it are found by
// halving, put into quarantine and reported, and everything else is applied. After an error the state is void: Read.
func Carry(ctx context.Context, d Driver, have *State, plan *Plan) ([]cluster.Problem, error) {
	if plan.Empty() {
		have.Commit(plan)
		return have.quarantineProblems(), nil
	}
	err := d.Apply(ctx, plan)
	if err == nil {
		have.Commit(plan)
		return have.quarantineProblems(), nil
	}
	if !errors.Is(err, ErrRejected) || len(plan.Changes) == 0 {
		return nil, fmt.Errorf("apply plan: %w", err)
	}
	// What spans the frontends goes first and alone: were it the cause, no frontend would be.
	frame := &Plan{Revision: plan.Revision, Repairs: plan.Repairs, Sets: plan.Sets, Local: plan.Local}
	if err := d.Apply(ctx, frame); err != nil {
		return nil, fmt.Errorf("apply plan without its frontends: %w", err)
	}
	rejected := map[cluster.Frontend]error{}
	if err := isolate(ctx, d, have, plan.Changes, rejected); err != nil {
		return nil, fmt.Errorf("apply plan in parts: %w", err)
	}
	have.quarantine(plan, rejected)
	if err := have.look(ctx, d, rejected); err != nil {
		return nil, fmt.Errorf("read after a part of the plan was rejected: %w", err)
	}
	return have.quarantineProblems(), nil
}

// look reads where rejected frontends really are: a change of size is two transactions, and the first may have passed.
func (s *State) look(ctx context.Context, d Driver, rejected map[cluster.Frontend]error) error {
	if len(rejected) == 0 {
		return nil
	}
	now, err := d.Read(ctx)
	if err != nil {
		return err
	}
	for f := range rejected {
		if delete(s.Placed, f); !now.Placed[f].equal(Placement{}) {
			s.Placed[f] = now.Placed[f]
		}
	}
	return nil
}

func isolate(ctx context.Context, d Driver, have *State, changes []Change, rejected map[cluster.Frontend]error) error {
	err := d.Apply(ctx, &Plan{Changes: changes})
	switch {
	case err == nil:
		have.place(changes)
		return nil
	case !errors.Is(err, ErrRejected):
		return err
	case len(changes) == 1:
		rejected[changes[0].Frontend] = err
		return nil
	}
	half := len(changes) / 2
	if err := isolate(ctx, d, have, changes[:half], rejected); err != nil {
		return err
	}
	return isolate(ctx, d, have, changes[half:], rejected)
}

func (s *State) quarantine(plan *Plan, rejected map[cluster.Frontend]error) {
	applied := *plan
	applied.Changes = slices.DeleteFunc(slices.Clone(plan.Changes), func(c Change) bool { return rejected[c.Frontend] != nil })
	for _, c := range plan.Changes {
		if err := rejected[c.Frontend]; err != nil {
			if s.quarantined == nil {
				s.quarantined = map[cluster.Frontend]Quarantine{}
			}
			s.quarantined[c.Frontend] = Quarantine{c.balancer, err.Error()}
			applied.skip(c.Frontend)
		}
	}
	s.Commit(&applied)
}

func (s *State) quarantineProblems() (out []cluster.Problem) {
	for f, q := range s.quarantined {
		out = append(out, cluster.Problem{
			Object: q.object(), Field: "frontend " + f.String(), What: "the kernel of this node refuses its rules, so it keeps what it had: " + q.Reason,
			Fix: "look at the node's kernel log; it is tried again when the service changes",
		})
	}
	slices.SortFunc(out, cluster.Problem.Compare)
	return out
}

// object is whom a refusal harms. What should go away belongs to nobody any more.
func (q Quarantine) object() string {
	if q.Balancer == nil {
		return "node"
	}
	return "service " + q.Balancer.Service
}
