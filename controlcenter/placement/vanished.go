package placement

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// vanished looks after the instances of a service that is not published. They are stopped only where somebody withdrew it: a
// key that was deleted by hand, lost, or that cannot be read, stops nothing.
func (r *round) vanished(name string, members []*member) {
	if r.Operations.Scaled[name].Withdrawn {
		r.withdrawn(members, "its service was withdrawn")
	} else if running := r.seeOff(members); len(running) > 0 {
		r.orphaned(name, len(running))
	}
}

// seeOff has those go on that are on their way out, and returns the others: those that run.
func (r *round) seeOff(members []*member) (running []*member) {
	for _, m := range members {
		switch {
		case r.forgotten(m):
			r.unassign(m)
		case m.lost:
		case m.kept():
			running = append(running, m)
		default:
			r.depart(m)
		}
	}
	return running
}

// orphaned says that instances run on without a service.
func (r *round) orphaned(name string, running int) {
	r.problems = append(r.problems, cluster.Problem{
		Object: named(name), What: fmt.Sprintf("it is not published, or cannot be read, and nobody withdrew it: %d of its instances run on", running),
		Fix: "publish it again; if it is to end: weir controlcenter withdraw " + name,
	})
}

// withdrawn stops what nobody wants any more. Who decided so did it by a command that asked back.
func (r *round) withdrawn(members []*member, reason string) {
	for _, m := range r.seeOff(members) {
		r.want(m, cluster.WantDrained, reason)
	}
}

// bury forgets that services were withdrawn of which nothing runs any more, or that are published again.
func (r *round) bury(members map[string][]*member, busy map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(r.Operations.Scaled)) {
		s := r.Operations.Scaled[name]
		if _, published := r.Snapshot.Services.Get(name); s.Withdrawn && (published || len(members[name]) == 0 && !busy[name]) {
			r.do("", "", "", cluster.Buried{Service: name, ModRevision: s.ModRevision})
		}
	}
}
