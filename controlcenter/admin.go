package controlcenter

import (
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Word is what an operator says of an instance. What it does not mention stays as it was.
type Word struct {
	Drain       *bool
	Weight      *int // 0..cluster.MaxWeight
	ClearWeight bool
	Reason      string
	Force       bool // also when nobody would take new connections afterwards
	Again       bool // say it again when it is so already: who waits for the nodes needs a revision to wait for
}

// PlanAdmin makes a word about an instance, named by id or address, into a change; nil when it already is so and need not
// be said again. Taking out
// the last instance that takes new connections is refused with cluster.ErrUnsafe, unless forced.
func PlanAdmin(s *cluster.Snapshot, target [2]string, word Word, now time.Time) (cluster.Change, error) {
	service, instance := target[0], target[1]
	in, err := find(s, service)
	if err != nil {
		return nil, err
	}
	state, err := findInstance(in, instance)
	if err != nil {
		return nil, err
	}
	if word.Weight != nil && (*word.Weight < 0 || *word.Weight > cluster.MaxWeight) {
		return nil, fmt.Errorf("weight %d is outside 0..%d: weights are relative, scale them down", *word.Weight, cluster.MaxWeight)
	}
	id := state.Instance.ID
	old, spoken := in.Admin[id]
	next := word.apply(old)
	if spoken && same(old, next) && word.Again {
		return cluster.SetAdmin{Service: service, ID: id, Admin: &old}, nil
	}
	if spoken && same(old, next) || !spoken && same(next, cluster.Admin{}) {
		return nil, nil
	}
	next.Since, next.Reason = now, word.Reason
	if !word.Force && emptied(in, id, next) {
		return nil, fmt.Errorf("%w: no instance of service %s would take new connections: undrain another first, or use --force", cluster.ErrUnsafe, service)
	}
	if same(next, cluster.Admin{}) {
		return cluster.SetAdmin{Service: service, ID: id}, nil
	}
	return cluster.SetAdmin{Service: service, ID: id, Admin: &next}, nil
}

func (w Word) apply(a cluster.Admin) cluster.Admin {
	if w.Drain != nil {
		a.Drain = *w.Drain
	}
	if w.Weight != nil {
		a.Weight = w.Weight
	}
	if w.ClearWeight {
		a.Weight = nil
	}
	return a
}

// same compares what decides, not when and why it was said.
func same(a, b cluster.Admin) bool {
	if (a.Weight == nil) != (b.Weight == nil) || a.Weight != nil && *a.Weight != *b.Weight {
		return false
	}
	return a.Drain == b.Drain && a.Standby == b.Standby
}

// emptied asks Resolve itself whether this word is what leaves nobody to serve.
func emptied(in *cluster.Inputs, id string, admin cluster.Admin) bool {
	after := *in
	after.Admin = map[string]cluster.Admin{}
	for k, v := range in.Admin {
		after.Admin[k] = v
	}
	after.Admin[id] = admin
	return taking(in) > 0 && taking(&after) == 0
}

func taking(in *cluster.Inputs) (n int) {
	for _, s := range cluster.Resolve(in).Instances {
		if s.Takes() {
			n++
		}
	}
	return n
}
