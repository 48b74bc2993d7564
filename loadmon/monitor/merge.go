package monitor

import (
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

// merged adds what the checks saw to what the kernel counted, and takes out the connections that checks and questions for
// figures made themselves. Its counters never fall while the monitor runs, whatever becomes of those that they are made from: a checker
// begins anew with a service that was away for a while.
type merged struct {
	tallies map[check.ID]tally
	ours    ours
}

// tally is what was seen of one instance, and what was made of it.
type tally struct {
	counted, failed       uint64 // the last that was seen
	owed, recent          uint64 // connections of ours that the kernel has not counted yet; those of the last sample
	connections, failures uint64 // what is reported
}

// add merges one sample. The loads are changed in place.
func (m *merged) add(loads []loadmon.Load, locals []loadmon.Local, results map[check.ID]check.Result, asked map[sample.ID]sample.Questions) {
	made, listeners := m.ours.made(results, asked), map[check.ID][]cluster.Listener{}
	for _, l := range locals {
		listeners[check.ID{Service: l.Service, Instance: l.Instance}] = l.Listeners
	}
	next := make(map[check.ID]tally, len(results))
	for i := range loads {
		l := &loads[i]
		id := check.ID{Service: l.Service, Instance: l.Instance}
		r, before := results[id], m.tallies[id]
		t := before.see(l.Connections, to(made, listeners[id]), r.Failed)
		next[id] = t
		l.Connections, l.Failed, l.FailedInRow, l.LatencyMS = t.connections, t.failures, r.FailedInRow, r.LatencyMS
	}
	for id, t := range m.tallies {
		_, seen := next[id]
		_, checked := results[id]
		if !seen && checked {
			next[id] = t.wait(to(made, listeners[id])) // it has no figures at the moment, such as for another process
		}
	}
	m.tallies = next
}

func (t tally) see(counted, made, failed uint64) tally {
	opened := sample.Since(t.counted, counted)
	// What the kernel did not count within two samples it never will: a check that found no route.
	t.owed = min(t.owed, t.recent) + made
	t.recent = made
	paid := min(t.owed, opened)
	t.owed -= paid
	t.connections += opened - paid
	t.failures += sample.Since(t.failed, failed)
	t.counted, t.failed = counted, failed
	return t
}

// wait keeps what was made while the kernel's count is not known.
func (t tally) wait(made uint64) tally {
	t.owed += made
	t.recent += made
	return t
}
