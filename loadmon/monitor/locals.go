package monitor

import (
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// locals are the instances of this node, kept from one snapshot to the next: what did not change is not resolved again.
type locals struct {
	node      string
	seen      *cluster.Snapshot
	byService map[string][]loadmon.Local
	all       []loadmon.Local
}

// of is the list for a snapshot. What was handed out before stays as it was.
func (l *locals) of(s *cluster.Snapshot) []loadmon.Local {
	if s == l.seen {
		return l.all
	}
	var before cluster.Map[string, *cluster.Inputs]
	if l.seen == nil {
		l.byService = map[string][]loadmon.Local{}
	} else {
		before = l.seen.Services
	}
	l.seen = s
	for name, change := range cluster.Changed(before, s.Services) {
		delete(l.byService, name)
		if in := change[1]; in != nil {
			if here := loadmon.LocalsOf(in, l.node); len(here) > 0 {
				l.byService[name] = here
			}
		}
	}
	l.all = nil
	for _, here := range l.byService {
		l.all = append(l.all, here...)
	}
	slices.SortFunc(l.all, loadmon.Local.Compare)
	return l.all
}
