package placement

import (
	"time"
)

// Heat is what a node's load monitor said last of the node as a whole.
type Heat struct {
	Busy   float64   // 0..1, of all its processors
	Sample time.Time // of the figures, by the node's clock: tells new ones from old
	Heard  time.Time // by ours
}

// Of nodes that are too busy. Between the two thresholds nothing moves, in either direction.
const (
	hotFrom   = 0.85            // busy for so many periods: an instance should go
	coolBelow = 0.60            // one may come
	periods   = 3               // figures in a row
	period    = 4 * time.Second // at least, from one of them to the next; the leader has monitors sample each 5 s, others who ask at most each 2.5 s
	heatLasts = 15 * time.Second
)

// streak is how long a node has been hot.
type streak struct {
	sample time.Time // the last that counted
	n      int
}

// heat is what is known of a node now; figures that are old say nothing.
func (r *round) heat(node string) (Heat, bool) {
	h, known := r.Hosts[node]
	return h, known && r.Now.Sub(h.Heard) <= heatLasts
}

// warm counts for how many periods each node has been hot. A node that an instance moves from or to begins anew when that is
// over: what is seen meanwhile is of both at once.
func (r *round) warm() {
	next := map[string]streak{}
	moving := r.moving()
	for node := range r.Hosts {
		h, fresh := r.heat(node)
		s := r.state.hot[node]
		switch {
		case !fresh || h.Busy < hotFrom || moving[node]:
			continue
		case h.Sample.Sub(s.sample) > heatLasts: // also the first
			s = streak{h.Sample, 1}
		case h.Sample.Sub(s.sample) >= period:
			s = streak{h.Sample, s.n + 1}
		}
		next[node] = s
	}
	r.state.hot = next
}

// hot says whether a node has been too busy for long enough.
func (r *round) hot(node string) bool { return r.state.hot[node].n >= periods }

// moving are the nodes that an instance is moving from or to.
func (r *round) moving() map[string]bool {
	out := map[string]bool{}
	for _, m := range r.Operations.Moved {
		if _, there := r.Operations.Assigned[m.From][m.ID]; there && r.Now.Sub(m.Since) < movePause {
			out[m.From], out[m.To] = true, true
		}
	}
	return out
}
