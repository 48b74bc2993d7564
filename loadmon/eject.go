package loadmon

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// ejection is how often and for how long an instance was taken out because it misbehaves although its checks pass.
type ejection struct {
	times  int           // each one lasts longer; one is forgotten after ejectForget without another
	left   time.Duration // of the present one; 0: it is in
	quiet  time.Duration // since the last one ended
	failed uint64        // the counter at its return: failures before count no more
	why    cluster.Ejection
}

func (e ejection) ejected() bool { return e.left > 0 }

// eject takes out who fails or is far too slow, and takes back whose time is over. At most a third is out, never the last.
func (s State) eject(in Input, elapsed time.Duration) {
	out := 0
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		t.serveTime(elapsed)
		s.tracks[c.ID] = t
		if t.ejected() {
			out++
		}
	}
	var asked []string
	most := s.mostFail(in)
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; !t.ejected() && t.misbehaves() != "" && (t.fails() && !most || !t.fails() && s.roomWithout(in, c.ID)) {
			asked = append(asked, c.ID)
		}
	}
	slices.SortStableFunc(asked, func(a, b string) int { // the worst first
		return cmp.Compare(s.tracks[b].last.FailedInRow, s.tracks[a].last.FailedInRow)
	})
	for _, id := range asked[:min(len(asked), max(0, len(in.Instances)/3-out))] {
		t := s.tracks[id]
		t.why = cluster.Ejection{Reason: t.misbehaves(), Since: in.Now}
		t.times++
		t.left = min(time.Duration(t.times)*ejectFirst, ejectMost)
		t.row, t.pool = 0, pool{}
		s.tracks[id] = t
	}
}

// serveTime lets time pass.
func (t *track) serveTime(elapsed time.Duration) {
	if t.ejected() {
		if t.left -= elapsed; t.left <= 0 {
			t.left, t.quiet, t.age, t.failed = 0, 0, 0, t.last.Failed // back, with a slow start
		}
		return
	}
	if t.quiet += elapsed; t.times > 0 && t.quiet >= ejectForget {
		t.times, t.quiet = t.times-1, 0
	}
}

// roomWithout says whether the others could take what an instance gets. A slow one still does work, and taking it from a
// service that has no room makes all of them slow. One that fails does none.
func (s State) roomWithout(in Input, id string) bool {
	weight, fullest := 0.0, 0.0
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; c.ID != id && t.fresh() && !t.ejected() {
			weight += t.weight
			fullest = max(fullest, t.latest.busy)
		}
	}
	return weight > 0 && fullest*(weight+s.tracks[id].weight)/weight < roomy
}

// mostFail says whether the last connections of more than half of the instances failed: then it is none of one instance's
// troubles, and agents use them all.
func (s State) mostFail(in Input) bool {
	n := 0
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; t.fresh() && t.last.FailedInRow > 0 {
			n++
		}
	}
	return 2*n > len(in.Instances)
}

func (t track) fails() bool { return t.last.FailedInRow >= manyFailed && t.last.Failed > t.failed }

// misbehaves says why the instance should be out, or "".
func (t track) misbehaves() string {
	switch {
	case !t.heard:
		return ""
	case t.fails():
		return fmt.Sprintf("%d connections in a row failed", t.last.FailedInRow)
	case t.row >= manySlow && (t.latest.busy < roomy || t.row >= manyQueued):
		return fmt.Sprintf("%d answers in a row took longer than the hard limit, the last %.0f ms", t.row, t.last.LatencyMS)
	}
	return ""
}

// ejections are those in force.
func (s State) ejections(in Input) map[string]cluster.Ejection {
	var out map[string]cluster.Ejection
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; t.ejected() {
			if out == nil {
				out = map[string]cluster.Ejection{}
			}
			out[c.ID] = t.why
		}
	}
	return out
}
