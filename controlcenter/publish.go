package controlcenter

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-lb/weir/cluster"
)

// attempts is how often a change is planned anew when somebody else was faster. Each attempt has then seen a newer
// state, so more of them would mean that two programs fight over one service.
const attempts = 5

// Published is what came of one service.
type Published struct {
	Plan     Plan
	Revision int64 // 0: there was nothing to write
}

// How says how plans are carried out.
type How struct {
	Show  func(Plan) // each plan just before it is written; nil: nobody looks
	Force bool       // also what takes away more than half of all instances
}

// Publish plans all entries, and writes those that change something. When the error comes after some were written, those
// are returned with it. What would take away more than half of all instances is refused with cluster.ErrUnsafe.
func Publish(ctx context.Context, store Store, entries []Entry, how How) ([]Published, error) {
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the present state: %w", err)
	}
	plans, err := PlanAll(snapshot, entries)
	if err != nil {
		return nil, err
	}
	if err := how.weigh(ctx, store, snapshot, plans); err != nil {
		return nil, err
	}
	var done []Published
	for i, plan := range plans {
		p, err := how.commit(ctx, store, plan, func(s *cluster.Snapshot) (Plan, error) {
			again, err := PlanAll(s, entries[i:i+1])
			if err != nil {
				return Plan{}, err
			}
			return again[0], nil
		})
		if err != nil {
			return done, err
		}
		done = append(done, p)
	}
	return done, nil
}

// Withdraw removes a service; of one that is not published, the instances that Weir runs.
func Withdraw(ctx context.Context, store Store, name string, how How) (Published, error) {
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		return Published{}, fmt.Errorf("read the present state: %w", err)
	}
	plan, err := PlanWithdraw(ctx, store, snapshot, name)
	if err != nil {
		return Published{}, err
	}
	if err := how.weigh(ctx, store, snapshot, []Plan{plan}); err != nil {
		return Published{}, err
	}
	return how.commit(ctx, store, plan, func(s *cluster.Snapshot) (Plan, error) { return PlanWithdraw(ctx, store, s, name) })
}

// weigh refuses what takes away too much, unless that is meant; what would have been done is shown.
func (h How) weigh(ctx context.Context, store Store, s *cluster.Snapshot, plans []Plan) error {
	err := Weigh(ctx, store, s, plans)
	if h.Force && errors.Is(err, cluster.ErrUnsafe) {
		return nil
	}
	for _, p := range plans {
		if errors.Is(err, cluster.ErrUnsafe) && !p.Nothing() {
			p.refused, p.Warnings = true, p.Warnings[:len(p.Warnings)-1] // why is said by the error
		}
		if err != nil {
			h.show(p)
		}
	}
	return err
}

func (h How) show(p Plan) {
	if h.Show != nil {
		h.Show(p)
	}
}

// commit writes a plan, and plans anew when somebody else wrote in between.
func (h How) commit(ctx context.Context, store Store, plan Plan, again func(*cluster.Snapshot) (Plan, error)) (Published, error) {
	for n := 1; ; n++ {
		h.show(plan)
		if plan.Nothing() {
			return Published{Plan: plan}, nil
		}
		revision, err := store.Commit(ctx, plan.Change())
		if err == nil {
			return Published{plan, revision}, nil
		}
		if n == attempts || !replan(plan, err) {
			return Published{}, err
		}
		snapshot, err := store.Snapshot(ctx)
		if err != nil {
			return Published{}, fmt.Errorf("read what changed in between: %w", err)
		}
		if plan, err = again(snapshot); err != nil {
			return Published{}, err
		}
		if err := h.weigh(ctx, store, snapshot, []Plan{plan}); err != nil {
			return Published{}, err
		}
	}
}

// replan says whether a newer state may help: not when the VIP that the operator asked for belongs to somebody else.
func replan(plan Plan, err error) bool {
	var taken *cluster.TakenError
	if errors.As(err, &taken) {
		return plan.allocated
	}
	return errors.Is(err, cluster.ErrConflict)
}
