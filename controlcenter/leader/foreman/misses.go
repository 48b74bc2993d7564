package foreman

import (
	"cmp"
	"context"
	"errors"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/placement"
)

// mostMissed is how many services one round finds that it cannot write of: it may be etcd's trouble and none of theirs.
const mostMissed = 10

// misses are what could not be written in a round. A value that etcd does not take, as one that grew too large, is the trouble of
// one service, and the others go on.
type misses struct {
	of   map[string]bool // services; one of these waits for the next round, since what follows may rest on what was not written
	errs []error
	over bool // the round is
}

// note takes what came of a write, and says whether the round is over with it.
func (m *misses) note(service string, err error) (over bool) {
	if err == nil {
		return false
	}
	if m.of == nil {
		m.of = map[string]bool{}
	}
	m.of[service] = true
	m.errs = append(m.errs, err)
	m.over = len(m.errs) >= mostMissed
	for _, all := range []error{cluster.ErrNotLeading, cluster.ErrUnreachable, cluster.ErrStale, context.Canceled} {
		m.over = m.over || errors.Is(err, all)
	}
	return m.over
}

func (m *misses) err() error { return errors.Join(m.errs...) }

// subject is the service, or the machine, that an action is about; "" is none.
func subject(a placement.Action) string {
	for _, d := range a.Decisions {
		switch d := d.(type) {
		case cluster.Assign:
			return cmp.Or(d.Assignment.Service, d.ID)
		case cluster.Unassign:
			return cmp.Or(d.Service, d.ID)
		}
	}
	return a.Event.Service
}
