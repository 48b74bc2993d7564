package controlcenter

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// stock is how many instances there are of each service: those that files list, and those that Weir runs or is about to.
type stock map[string]int

func stockOf(s *cluster.Snapshot, ops *cluster.Operations) stock {
	k := stock{}
	for name, in := range s.Services.All() {
		k[name] += len(in.Service.Instances)
	}
	for _, assigned := range ops.Assigned {
		for _, a := range assigned {
			if kept(a) {
				k[a.Service]++
			}
		}
	}
	return k
}

func kept(a cluster.Assignment) bool {
	return a.Kind == cluster.KindInstance && a.Wanted.Kept()
}

// halved refuses, with cluster.ErrUnsafe, numbers of services' instances that would take away more than half of all. Of a few
// nothing is said.
func (k stock) halved(after map[string]int) error {
	total, gone := 0, 0
	for service, n := range k {
		total += n
		if next, changes := after[service]; changes {
			gone += max(n-next, 0)
		}
	}
	if total > fewInstances && 2*gone > total {
		return fmt.Errorf("%w: it would stop %d of all %d instances, more than half: if that is meant, use --force", cluster.ErrUnsafe, gone, total)
	}
	return nil
}

// fewInstances are so few that half of them is no disaster.
const fewInstances = 4

// Weigh says, with cluster.ErrUnsafe, that plans together would take away more than half of all instances, and adds that to
// their warnings. Operations are read only where that could be.
func Weigh(ctx context.Context, store Store, s *cluster.Snapshot, plans []Plan) error {
	ops := &cluster.Operations{}
	if slices.ContainsFunc(plans, func(p Plan) bool { return !p.Nothing() && p.Previous != nil && p.Previous.Launched() }) {
		var err error
		if ops, err = store.Operations(ctx); err != nil {
			return fmt.Errorf("read which instances run: %w", err)
		}
	}
	after := map[string]int{}
	for _, p := range plans {
		if !p.Nothing() {
			after[p.Name] = left(p.Service, p.Name, ops)
		}
	}
	err := stockOf(s, ops).halved(after)
	for i := range plans {
		if err != nil && !plans[i].Nothing() {
			plans[i].Warnings = append(plans[i].Warnings, err.Error())
		}
	}
	return err
}

// left is how many instances of a service there may still be once it is published like this; nil: withdrawn.
func left(s *cluster.Service, name string, ops *cluster.Operations) int {
	if s == nil {
		return 0
	}
	if !s.Launched() {
		return len(s.Instances)
	}
	serving, standby := 0, 0
	for _, assigned := range ops.Assigned {
		for _, a := range assigned {
			switch {
			case a.Service != name || !kept(a):
			case a.Wanted == cluster.WantStandby:
				standby++
			default:
				serving++
			}
		}
	}
	return len(s.Instances) + min(serving+standby, wanted(s, ops.Scaled[name], serving)+s.Warm)
}
