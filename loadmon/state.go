package loadmon

import (
	"maps"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// State is what the leader remembers of one service between two decisions. It is a value: Weights returns the next one.
// The zero State knows nothing. It holds durations and no times but the last: elapsed time is added up in steps of at
// most 15 seconds, so a jump of the clock cannot end an ejection or start a slow start.
type State struct {
	at      time.Time
	lasting bool // connections live so long that their number, not their rate, says who does how much
	tracks  map[string]track
	written map[string]int // the shares of the last decision that was worth a write
	resumed bool           // weights are the shares that another leader wrote, with all that is in them
	blend   int            // of the last decision
}

// track is what is remembered of one instance.
type track struct {
	weight float64       // relative; the mean of the service is 1
	age    time.Duration // since it came, up to slowStart
	absent time.Duration // since it was last among the instances; 0: it is
	silent time.Duration // since its last good figures
	last   Measured      // the last good figures; no Node: none yet
	latest window        // what lies between the last two
	heard  bool          // latest is of this round
	wish   wish
	life   life
	pool   pool
	constant
	estimate
	slowness
	ejection
}

// Resume is the state of a new leader: all that it knows is what the one before wrote.
func Resume(w *cluster.Weights) State {
	s := State{tracks: map[string]track{}}
	if w == nil {
		return s
	}
	s.written, s.resumed = maps.Clone(w.Share), len(w.Share) > 0
	for id, share := range w.Share {
		t := track{weight: float64(max(share, 1)), age: slowStart, slowness: slowness{keep: 1}}
		if e, ok := w.Ejected[id]; ok {
			t.ejection = ejection{times: 1, left: ejectFirst, why: e}
		}
		s.tracks[id] = t
	}
	return s
}

// advance is the state at a later time, for the instances that are there now.
func (s State) advance(in Input) (next State, elapsed time.Duration) {
	if !s.at.IsZero() {
		elapsed = min(max(in.Now.Sub(s.at), 0), fresh)
	}
	next = State{at: in.Now, lasting: s.lasting, written: s.written, tracks: make(map[string]track, len(in.Instances))}
	for id, t := range s.tracks {
		if t.absent += elapsed; t.absent <= remembered {
			next.tracks[id] = t
		}
	}
	unknown := []Candidate{}
	sum, n := 0.0, 0
	for _, c := range in.Instances {
		t, known := next.tracks[c.ID]
		if !known {
			unknown = append(unknown, c)
			continue
		}
		if t.absent > elapsed { // it was away for a round at least: it may have been started anew
			t = t.returned()
		}
		t.absent, t.heard = 0, false
		t.age = min(t.age+elapsed, slowStart)
		t.silent = min(t.silent+elapsed, remembered)
		next.tracks[c.ID] = t
		sum, n = sum+t.weight, n+1
	}
	for _, c := range unknown {
		t := track{weight: 1, silent: remembered, slowness: slowness{keep: 1}}
		if n > 0 {
			t.weight = sum / float64(n)
		}
		if len(s.tracks) == 0 { // not a new instance, but a service whose weights begin to follow the load
			t.weight, t.age = float64(max(c.Weight, 1)), slowStart
		}
		next.tracks[c.ID] = t
	}
	next.scale(in.Instances)
	return next, elapsed
}

// scale makes the mean weight 1.
func (s State) scale(instances []Candidate) {
	if len(instances) == 0 {
		return
	}
	sum := 0.0
	for _, c := range instances { // in the order of the ids: sums of floats depend on it
		sum += s.tracks[c.ID].weight
	}
	for id, t := range s.tracks {
		t.weight *= float64(len(instances)) / sum
		s.tracks[id] = t
	}
}

// returned keeps of an instance that was away what it could take before, as a first guess.
func (t track) returned() track {
	back := track{weight: t.weight, absent: t.absent, silent: remembered, slowness: slowness{keep: 1}, ejection: t.ejection, estimate: t.estimate}
	back.estimate.samples = min(back.estimate.samples, 1)
	return back
}
