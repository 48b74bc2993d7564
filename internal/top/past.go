package top

import (
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// Fresh is how long figures are shown: those of a load monitor that has said nothing new for longer are no longer known.
const Fresh = 15 * time.Second

// Answer is what one node's load monitor said when it was asked, or why it did not.
type Answer struct {
	Report   loadmon.Report
	Problems []cluster.Problem
	Err      error
}

// Past remembers the two newest reports of each node: rates are made of two. The zero value knows nothing.
type Past struct{ nodes map[string]*heard }

type id struct{ service, instance string }

// reading is what counts of one report.
type reading struct {
	uptime time.Duration
	host   loadmon.HostLoad
	loads  map[id]loadmon.Load
}

type heard struct {
	before, after *reading
	at            time.Time // when after was first heard of, by our clock
	problems      []cluster.Problem
	err           error // of the last question
}

// Hear takes in what a node answered. Only what may come from that node, and can be true, counts.
func (p *Past) Hear(node string, a Answer, snapshot *cluster.Snapshot, now time.Time) {
	if p.nodes == nil {
		p.nodes = map[string]*heard{}
	}
	h := p.nodes[node]
	if h == nil {
		h = &heard{}
		p.nodes[node] = h
	}
	if h.err = a.Err; a.Err != nil {
		return
	}
	of := func(service, instance string) string {
		in, ok := snapshot.Services.Get(service)
		if !ok {
			return ""
		}
		return in.Hosts[instance].Node
	}
	a.Report.Loads = slices.DeleteFunc(slices.Clone(a.Report.Loads), func(l loadmon.Load) bool {
		return of(l.Service, l.Instance) == "" // it has just come or gone, and the node heard of that a moment earlier or later
	})
	accepted, problems := a.Report.Accept(node, func(service, instance string) bool { return of(service, instance) == node })
	h.problems = append(problems, a.Problems...)
	if accepted == nil { // not a report of this node
		return
	}
	next := &reading{
		uptime: time.Duration(a.Report.UptimeS * float64(time.Second)),
		host:   a.Report.Host, loads: map[id]loadmon.Load{},
	}
	for service, loads := range accepted {
		for instance, m := range loads {
			next.loads[id{service, instance}] = m.Load
		}
	}
	h.add(next, now)
}

// add makes it the newest, unless it is the one that was heard before. Counters of a monitor that began anew do too.
func (h *heard) add(next *reading, now time.Time) {
	switch {
	case h.after == nil || next.uptime < h.after.uptime:
		h.before, h.after, h.at = nil, next, now
	case next.uptime > h.after.uptime:
		h.before, h.after, h.at = h.after, next, now
	}
}

// Forget drops the nodes that are no longer asked.
func (p *Past) Forget(asked func(node string) bool) {
	for node := range p.nodes {
		if !asked(node) {
			delete(p.nodes, node)
		}
	}
}

// newest is what the node last said, while that is fresh; else nil.
func (p *Past) newest(node string, now time.Time) *heard {
	h := p.nodes[node]
	if h == nil || h.after == nil || now.Sub(h.at) >= Fresh {
		return nil
	}
	return h
}

// Load is all that is known of one instance.
func (p *Past) Load(node, service, instance string, now time.Time) (loadmon.Load, bool) {
	h := p.newest(node, now)
	if h == nil {
		return loadmon.Load{}, false
	}
	l, ok := h.after.loads[id{service, instance}]
	return l, ok
}

// figures are those of one instance; what is not known stays nil.
func (p *Past) figures(node string, which id, now time.Time) (f Figures) {
	load, ok := p.Load(node, which.service, which.instance, now)
	if !ok {
		return f
	}
	h := p.nodes[node]
	f.Active, f.Busy = &load.Active, &load.Busy
	if load.LatencyMS > 0 {
		f.LatencyMS = &load.LatencyMS
	}
	if h.before == nil {
		return f
	}
	before, ok := h.before.loads[which]
	if ok && before.Connections <= load.Connections {
		rate := float64(load.Connections-before.Connections) / (h.after.uptime - h.before.uptime).Seconds()
		f.NewPerS = &rate
	}
	return f
}
