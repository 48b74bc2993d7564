package watchman

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	lookers    = 2 // that must agree
	candidates = 6 // that are tried, at most
)

// look picks the nodes to look at, and who does it.
func (s *State) look(in Sight) (out []Look) {
	for _, name := range slices.Sorted(maps.Keys(s.tracks)) {
		t := s.tracks[name]
		if !hosting(in.Nodes[name]) || !s.gone(t, in.Now) || t.look != 0 || t.settling(in.Now) || in.Now.Before(t.due()) {
			continue
		}
		s.looks++
		l := Look{Node: name, Number: s.looks, Lookers: choose(in, name, s.looks)}
		l.Need = min(lookers, len(l.Lookers))
		t.need = l.Need
		if t.look = l.Number; l.Need == 0 {
			t = t.hear(Looked{Why: "there is no other node whose load monitor could look"}, in.Now)
		} else {
			out = append(out, l)
		}
		s.tracks[name] = t
	}
	return out
}

// due is when to look next.
func (t track) due() time.Time {
	switch {
	case t.looked.IsZero():
		return time.Time{}
	case t.seen == answers || t.seen == dead:
		return t.looked.Add(lookAgain)
	}
	if t.seen == doubted {
		return t.looked.Add(lookSoon)
	}
	return t.looked.Add(lookRetry)
}

// choose orders those that can look at a node by hash, so that each look is a different draw and none is everybody's.
func choose(in Sight, node string, number int) []string {
	var names []string
	for name, n := range in.Nodes {
		if name != node && in.Alive[name] && n.Monitor && n.Down == nil {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(draw(node, a, number), draw(node, b, number)), cmp.Compare(a, b))
	})
	return names[:min(len(names), candidates)]
}

func draw(node, looker string, number int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(node + "/" + looker + "/" + strconv.Itoa(number)))
	x := h.Sum64()
	x ^= x >> 33 // the last bytes of FNV's input hardly reach its high bits
	return x * 0xff51afd7ed558ccd
}
