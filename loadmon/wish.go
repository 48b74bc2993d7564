package loadmon

import (
	"fmt"
	"math"
)

// wish is the part of its weight that an instance asks for. It lasts until the next one: an application that is silent for
// a while has not changed its mind.
type wish struct {
	known bool
	part  float64
	told  float64 // as it was when shares were written last; 0: as if it had wished for all
}

func (w wish) heard(part float64) wish {
	w.known, w.part = true, max(part, wishFloor)
	return w
}

// changed says whether agents have not been told yet.
func (w wish) changed() bool {
	before := w.told
	if before == 0 {
		before = 1
	}
	return w.known && math.Abs(w.part-before) >= wishFloor
}

// wished is what a share is multiplied by.
func (in Input) wished(t track) float64 {
	if !in.Policy.Wishes || !t.wish.known {
		return 1
	}
	return t.wish.part
}

// newWishes says in words which wishes are new since the last write, or "".
func (s State) newWishes(in Input) string {
	var parts []string
	more := 0
	for _, c := range in.Instances {
		switch w := s.tracks[c.ID].wish; {
		case !in.Policy.Wishes || !w.changed():
		case len(parts) == few:
			more++
		default:
			parts = append(parts, fmt.Sprintf("instance %s wishes %.0f %% of its weight", c.ID, 100*w.part))
		}
	}
	return inWords(parts, more)
}

func (s State) toldWishes(in Input) {
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		t.wish.told = t.wish.part
		s.tracks[c.ID] = t
	}
}

// unfold takes out of stored shares what shares multiplied into weights: the blend with the file's weights, and the wishes.
// Otherwise a new leader would do both again. Who does not say what it wishes is taken as if it wished for all.
func (s State) unfold(in Input) {
	blend := float64(in.Policy.Blend) / 100
	if blend == 0 || blend == 1 && !in.Policy.Wishes {
		return
	}
	sum, static := 0.0, 0.0
	for _, c := range in.Instances {
		sum += s.tracks[c.ID].weight / in.wished(s.tracks[c.ID])
		static += float64(max(c.Weight, 1))
	}
	mean := 1 / float64(len(in.Instances))
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		part := t.weight / in.wished(t) / sum
		t.weight = max((part-(1-blend)*float64(max(c.Weight, 1))/static)/blend, least*mean)
		t.wish.told = t.wish.part
		s.tracks[c.ID] = t
	}
	s.scale(in.Instances)
}

// Wishes decides the shares of instances that say themselves what part of their file's weight they want, and that nobody
// measures: share = weight of the file, times the wish. Who is silent keeps its last wish.
func Wishes(prev State, in Input) (State, Decision) {
	in = in.ordered()
	in.Policy.Blend, in.Policy.Wishes = 0, true
	if len(in.Instances) == 0 {
		next, _ := prev.advance(Input{Now: in.Now})
		return next, Decision{Reason: "no instance may take traffic"}
	}
	next, _ := prev.advance(in)
	if prev.resumed {
		next.guessWishes(in)
	}
	problems := next.hear(in)
	for _, c := range in.Instances {
		t := next.tracks[c.ID]
		t.age, t.ejection = slowStart, ejection{}
		next.tracks[c.ID] = t
	}
	d := Decision{Shares: next.shares(in), Reason: "every instance has what it wishes", Problems: problems}
	if why := next.newWishes(in); why != "" {
		d.Reason = why
	}
	if d.Write = prev.worthWriting(d.Shares, nil, in); d.Write {
		d.tell(&next, prev, in)
	}
	return next, d
}

// guessWishes are those that the stored shares were made of, as far as can be told: the largest is taken for a whole one.
func (s State) guessWishes(in Input) {
	most := 0.0
	for _, c := range in.Instances {
		most = max(most, s.tracks[c.ID].weight/float64(max(c.Weight, 1)))
	}
	for _, c := range in.Instances {
		if _, stored := s.written[c.ID]; !stored {
			continue
		}
		t := s.tracks[c.ID]
		t.wish = t.wish.heard(t.weight / float64(max(c.Weight, 1)) / most)
		t.wish.told = t.wish.part
		s.tracks[c.ID] = t
	}
}
