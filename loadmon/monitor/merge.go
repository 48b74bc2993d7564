package monitor

import (
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

// merged adds what the checks saw to what the kernel counted, and takes out the connections that checks and questions for
// figures made themselves. Its counters never fall while the monitor runs, whatever becomes of those that they are made from: a checker
// begins anew with a service that was away for a while.
type merged struct {
	tallies map[check.ID]tally
}

// tally is what was seen of one instance, and what was made of it.
type tally struct {
	counted, ours, failed uint64 // the last that was seen
	owed, recent          uint64 // connections of ours that the kernel has not counted yet; those of the last sample
	connections, failures uint64 // what is reported
}

// add merges one sample. The loads are changed in place.
func (m *merged) add(loads []loadmon.Load, results map[check.ID]check.Result, asked map[sample.ID]uint64) {
	next := make(map[check.ID]tally, len(results))
	for i := range loads {
		l := &loads[i]
		id := check.ID{Service: l.Service, Instance: l.Instance}
		r, before := results[id], m.tallies[id]
		t := before.see(l.Connections, r.Connections+asked[sample.ID(id)], r.Failed)
		next[id] = t
		l.Connections, l.Failed, l.FailedInRow, l.LatencyMS = t.connections, t.failures, r.FailedInRow, r.LatencyMS
	}
	for id, t := range m.tallies {
		_, seen := next[id]
		_, checked := results[id]
		if !seen && checked {
			next[id] = t // it has no figures at the moment, such as for another process
		}
	}
	m.tallies = next
}

func (t tally) see(counted, ours, failed uint64) tally {
	made, opened := since(t.ours, ours), since(t.counted, counted)
	// What the kernel did not count within two samples it never will: a check that found no route.
	t.owed = min(t.owed, t.recent) + made
	t.recent = made
	paid := min(t.owed, opened)
	t.owed -= paid
	t.connections += opened - paid
	t.failures += since(t.failed, failed)
	t.counted, t.ours, t.failed = counted, ours, failed
	return t
}

// since is by how much a counter rose; one that fell began anew.
func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}
