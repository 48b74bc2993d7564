package monitor

import (
	"net/netip"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

// ours counts this monitor's own connections by where they went. Several services may have the same address: the kernel counts
// the checks of all of them there, for each of them.
type ours struct {
	checks, questions map[check.ID]uint64 // the last that was seen
}

// made is how many there were since the last time.
func (o *ours) made(results map[check.ID]check.Result, asked map[sample.ID]sample.Questions) map[netip.AddrPort]uint64 {
	made := make(map[netip.AddrPort]uint64, len(results))
	checks, questions := make(map[check.ID]uint64, len(results)), make(map[check.ID]uint64, len(asked))
	for id, r := range results {
		made[r.To] += sample.Since(o.checks[id], r.Connections)
		checks[id] = r.Connections
	}
	for id, q := range asked {
		id := check.ID(id)
		made[q.To] += sample.Since(o.questions[id], q.Count)
		questions[id] = q.Count
	}
	o.checks, o.questions = checks, questions
	return made
}

// to are those that went to one instance.
func to(made map[netip.AddrPort]uint64, listeners []cluster.Listener) (n uint64) {
	for _, l := range listeners {
		if l.Proto == cluster.TCP {
			n += made[l.Address]
		}
	}
	return n
}
