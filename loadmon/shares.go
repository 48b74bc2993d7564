package loadmon

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Whole is the sum of all shares of a service.
const Whole = 1_000_000

// shares are the instances' parts of Whole: blended, with slow start and what they wish, at least 1 each.
func (s State) shares(in Input) map[string]int {
	parts := make([]float64, len(in.Instances))
	adaptive, static := 0.0, 0.0
	for _, c := range in.Instances {
		adaptive += s.tracks[c.ID].weight
		static += float64(max(c.Weight, 1))
	}
	blend := float64(in.Policy.Blend) / 100
	for i, c := range in.Instances {
		t := s.tracks[c.ID]
		parts[i] = (blend*t.weight/adaptive + (1-blend)*float64(max(c.Weight, 1))/static) * t.ramp() * in.wished(t)
	}
	out := make(map[string]int, len(parts))
	for i, share := range apportion(parts, Whole) {
		out[in.Instances[i].ID] = share
	}
	return out
}

// ramp is the part of its share that a new instance gets.
func (t track) ramp() float64 {
	return min(max(t.age.Seconds()/slowStart.Seconds(), rampFloor), 1)
}

// starting names the instances that get but a part of their share since they have just come, and those that get all of it from
// now on, or "".
func (s State) starting(prev State, in Input) string {
	var parts []string
	more := 0
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		before, known := prev.tracks[c.ID]
		switch {
		case t.ejected() || t.ramp() == 1 && (!known || before.ramp() == 1):
		case len(parts) == few:
			more++
		case t.ramp() == 1:
			parts = append(parts, fmt.Sprintf("instance %s has all of its share from now on", c.ID))
		default:
			parts = append(parts, fmt.Sprintf("instance %s begins with %.0f %% of its share", c.ID, math.Floor(100*t.ramp()+1e-9))) // 100 % would be all of it
		}
	}
	return inWords(parts, more)
}

// newBlend says that an operator mixes the weights in another way, or "".
func (s State) newBlend(prev State) string {
	if prev.at.IsZero() || prev.blend == s.blend {
		return ""
	}
	return fmt.Sprintf("blend is %d, it was %d", s.blend, prev.blend)
}

// inWords are parts of a reason, of which only the first are told one by one.
func inWords(parts []string, more int) string {
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and so on for %d more", more))
	}
	return strings.Join(parts, ", ")
}

// toWrite are the shares with those of instances that went away: should they come back before the leader notices, they
// begin with what a new instance gets.
func (s State) toWrite(shares map[string]int, in Input) map[string]int {
	out := make(map[string]int, len(s.tracks))
	for id, t := range s.tracks {
		if share, ok := shares[id]; ok {
			out[id] = share
		} else {
			out[id] = max(1, int(t.weight*rampFloor*Whole/float64(len(in.Instances))))
		}
	}
	return out
}

// apportion rounds parts to whole numbers of which the sum is whole, each at least 1, by largest remainder.
func apportion(parts []float64, whole int) []int {
	sum := 0.0
	for _, p := range parts {
		sum += p
	}
	out, order := make([]int, len(parts)), make([]int, len(parts))
	owed, left := make([]float64, len(parts)), whole
	for i, p := range parts {
		quota := p / sum * float64(whole)
		out[i] = max(1, int(quota))
		owed[i] = quota - float64(out[i])
		order[i] = i
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(owed[b], owed[a]) })
	for k := 0; left > 0; k = (k + 1) % len(order) {
		out[order[k]]++
		left--
	}
	for left < 0 { // many rounded up to 1: the largest pays
		largest := 0
		for i := range out {
			if out[i] > out[largest] {
				largest = i
			}
		}
		pays := min(-left, out[largest]-1)
		out[largest] -= pays
		left += pays
	}
	return out
}
