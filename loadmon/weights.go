package loadmon

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Candidate is an instance that may take traffic, or would if it were not ejected.
type Candidate struct {
	ID     string
	Weight int // of the service's file: where its share begins, and what a blend mixes in
}

// Input is what one decision is made of.
type Input struct {
	Service   string
	Now       time.Time
	Instances []Candidate
	Measured  map[string]Measured // the newest of each instance; an instance without one keeps its weight
	Policy    Policy
}

// Weights decides the shares of a service's instances:
//
//	capacity = ended connections / (busy + failed)   what it does for each busy second; a mean that starts anew after a change
//	target   = capacity's part of the whole, less what the soft latency limit takes
//	weight   = target, at most a quarter away from the weight before; as before while chance or 3 % would explain it
//	share    = weight, blended with the file's, times the slow start of a new instance
//
// Nothing moves while more than half of the instances have no fresh figures.
func Weights(prev State, in Input) (State, Decision) {
	in = in.ordered()
	if len(in.Instances) == 0 {
		next, _ := prev.advance(Input{Now: in.Now})
		return next, Decision{Reason: "no instance may take traffic"}
	}
	next, elapsed := prev.advance(in)
	problems := next.hear(in)
	if prev.resumed {
		next.unfold(in)
	}
	next.latencies(in)
	next.eject(in, elapsed)
	next = next.learn(in)
	before := next.weights(in)
	reason := next.move(in)
	next.blend = in.Policy.Blend
	for _, why := range []string{next.starting(prev, in), next.newWishes(in), next.newBlend(prev)} {
		if why != "" {
			reason = why + "; " + reason
		}
	}
	shares := next.shares(in)
	d := Decision{Shares: shares, Ejected: next.ejections(in), Reason: reason, Problems: problems}
	if d.Write = prev.worthWriting(shares, d.Ejected, in); d.Write {
		d.tell(&next, prev, in)
	} else {
		for id, w := range before { // what nobody was told did not happen: small moves must not add up unseen
			t := next.tracks[id]
			t.weight = w
			next.tracks[id] = t
		}
		d.Shares = next.shares(in)
	}
	return next, d
}

// tell makes of the decision what is written.
func (d *Decision) tell(next *State, prev State, in Input) {
	next.written = next.toWrite(d.Shares, in)
	d.write = next.written
	d.Changes = next.changes(prev, d.Shares, in)
	next.toldWishes(in)
}

// ordered is the input with its instances in the order of their ids, each once, and a sound policy: so that what is decided
// depends on nothing else.
func (in Input) ordered() Input {
	in.Policy = in.Policy.sound()
	in.Instances = slices.SortedFunc(slices.Values(in.Instances), func(a, b Candidate) int {
		return strings.Compare(a.ID, b.ID)*2 + sign(b.Weight-a.Weight)
	})
	in.Instances = slices.CompactFunc(in.Instances, func(a, b Candidate) bool { return a.ID == b.ID })
	return in
}

func sign(n int) int { return min(max(n, -1), 1) }

// hear gives every instance its newest report.
func (s State) hear(in Input) []cluster.Problem {
	complaint := complaints{object: "service " + in.Service}
	for _, c := range in.Instances {
		m, ok := in.Measured[c.ID]
		if !ok {
			continue
		}
		t := s.tracks[c.ID]
		if why := t.hear(m, in.Now); why != "" {
			fix := updateMonitor
			if m.early(in.Now) {
				fix = setClocks
			}
			complaint.add("instance "+c.ID, fmt.Sprintf("the load monitor of node %s is not believed: %s; the last good figures stay", m.Node, why), fix)
		}
		if t.heard {
			t.life.add(t.latest)
		}
		if t.last.Wish != nil {
			t.wish = t.wish.heard(*t.last.Wish)
		}
		s.tracks[c.ID] = t
	}
	s.distrust(in, &complaint)
	return complaint.list()
}

func (s State) weights(in Input) map[string]float64 {
	out := make(map[string]float64, len(in.Instances))
	for _, c := range in.Instances {
		out[c.ID] = s.tracks[c.ID].weight
	}
	return out
}

// move gives the instances of which enough is known their new weights, and says why, or why not.
func (s State) move(in Input) string {
	var movable []string
	expected, missing := 0, 0
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		if t.ejected() || t.age < blackout {
			continue
		}
		if expected++; !t.fresh() || !t.tells(in.Policy) {
			missing++
		} else if t.samples > 0 {
			movable = append(movable, c.ID)
		}
	}
	if 2*missing > expected {
		return fmt.Sprintf("frozen: %d of %d instances have no fresh figures", missing, expected)
	}
	if len(movable) < 2 {
		return fmt.Sprintf("the capacity of %d of %d instances is known: nothing to compare", len(movable), expected)
	}
	off := s.off(movable)
	targets, who := make([]float64, len(movable)), -1
	for i, id := range movable {
		t := s.tracks[id]
		chance := t.deviation()
		if math.Abs(off[i]) > max(math.Log1p(deadBand), t.certainty()*chance) && (who < 0 || math.Abs(off[i]) > math.Abs(off[who])) {
			who = i
		}
		// What may well be chance is followed only in part.
		targets[i] = t.weight * math.Exp(off[i]*off[i]*off[i]/(off[i]*off[i]+chance*chance))
	}
	if who < 0 {
		return "every weight is near its target"
	}
	for i, w := range s.bounded(movable, targets) {
		t := s.tracks[movable[i]]
		t.weight = w
		s.tracks[movable[i]] = t
	}
	return fmt.Sprintf("instance %s can take %.1f %% %s than it gets", movable[who], 100*math.Abs(math.Expm1(off[who])), moreOrLess(off[who]))
}

func moreOrLess(off float64) string {
	if off > 0 {
		return "more"
	}
	return "less"
}

// off is how far, as a logarithm, each instance's capacity is from its weight, compared with the others. Of these the
// well known count more: an instance of which little is known yet must not make all others seem wrong.
func (s State) off(movable []string) []float64 {
	off, sum, known := make([]float64, len(movable)), 0.0, 0.0
	for i, id := range movable {
		t := s.tracks[id]
		off[i] = t.capacity + math.Log(t.keep) - math.Log(t.weight)
		precision := float64(t.samples) / t.variance
		sum += off[i] * precision
		known += precision
	}
	for i := range off {
		off[i] -= sum / known
	}
	return off
}

// bounded comes as near to the targets as one step may, leaves everybody the least, and keeps the sum: whoever is not at
// the end of its step gets the same multiple of its target.
func (s State) bounded(movable []string, targets []float64) []float64 {
	sum := 0.0
	for _, id := range movable {
		sum += s.tracks[id].weight
	}
	out := make([]float64, len(targets))
	low, high := 0.0, math.MaxFloat32
	for range 200 { // halves the interval each time
		multiple, total := math.Sqrt(max(low, 1e-30)*high), 0.0
		for i, id := range movable {
			w := s.tracks[id].weight
			out[i] = min(max(targets[i]*multiple, w*(1-step), min(w, least)), w*(1+step))
			total += out[i]
		}
		if total > sum {
			high = multiple
		} else {
			low = multiple
		}
	}
	return out
}

// worthWriting says whether agents should be told.
func (s State) worthWriting(shares map[string]int, ejected map[string]cluster.Ejection, in Input) bool {
	sum := 0.0
	for id := range shares {
		written, ok := s.written[id]
		if !ok {
			return true
		}
		sum += float64(written)
	}
	for id, share := range shares {
		had, has := float64(s.written[id])/sum, float64(share)/Whole
		if math.Abs(has-had) >= min(point, tenth*had) {
			return true
		}
	}
	before := Input{Instances: in.Instances}
	return !maps.Equal(ejected, s.ejections(before))
}
