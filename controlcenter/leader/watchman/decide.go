package watchman

import (
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Decide says what to do, and what to remember of it.
func Decide(prev State, in Sight) (State, Orders) {
	next := prev.clone()
	if !next.attend(in) {
		return next, Orders{Gone: in.Recorded}
	}
	o := Orders{Up: next.returned(in)}
	next.follow(in)
	next.hear(in)
	if !in.Paused {
		o.Looks = next.look(in)
	}
	g := next.guard(in)
	o.Down = next.declare(in, g)
	o.Alarm, o.Raised = next.alarm(in, g)
	o.Gone, o.Problems = next.records(in, g, o)
	return next, o
}

// attend says whether etcd answers. When it does not, what was seen of the nodes is forgotten: their leases may have ended
// because it was away.
func (s *State) attend(in Sight) bool {
	if in.Now.Sub(in.Answered) > deaf {
		s.watching = time.Time{}
		clear(s.tracks)
		return false
	}
	if s.watching.IsZero() {
		s.watching = in.Now
	}
	if s.down == nil { // the first time: what the leader before declared counts too
		s.down = map[string]time.Time{}
		for _, n := range in.Nodes {
			if n.Down != nil && in.Now.Sub(n.Down.Since) < window { // also from a clock that is ahead
				s.declared = append(s.declared, in.Now.Add(-max(0, in.Now.Sub(n.Down.Since))))
			}
		}
	}
	return true
}

// returned are nodes that are back. That they are not down any more and that they are alive was one write, but is told by
// two watches.
func (s *State) returned(in Sight) (up []string) {
	for name, n := range in.Nodes {
		if n.Down != nil {
			s.down[name] = time.Time{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.down)) {
		n, known := in.Nodes[name]
		switch ended := s.down[name]; {
		case known && n.Down != nil:
		case in.Alive[name]:
			up = append(up, name)
			delete(s.down, name)
		case ended.IsZero():
			s.down[name] = in.Now
		case in.Now.Sub(ended) > settle: // an operator took it back, or forgot the node
			delete(s.down, name)
		}
	}
	return up
}

// follow keeps a track of each node without a lease.
func (s *State) follow(in Sight) {
	maps.DeleteFunc(s.tracks, func(name string, _ track) bool {
		_, known := in.Nodes[name]
		return !known || in.Alive[name]
	})
	for name := range in.Nodes {
		if _, tracked := s.tracks[name]; !tracked && !in.Alive[name] {
			s.tracks[name] = track{since: in.Now}
		}
	}
}

// hear takes in what came of looks.
func (s *State) hear(in Sight) {
	for _, l := range in.Looked {
		if t, ok := s.tracks[l.Node]; ok && t.look == l.Number {
			s.tracks[l.Node] = t.hear(l, in.Now)
		}
	}
}

func (t track) hear(l Looked, now time.Time) track {
	t.look, t.looked = 0, now
	switch {
	case l.Answered != "":
		t.seen, t.said, t.met = answers, l.Answered, true
	case len(l.Silent) < t.need || t.need == 0:
		if t.seen != answers && t.seen != doubted { // what was known last stays
			switch {
			case len(l.Silent) > 0: // whose way to the node may be what is broken
				t.said = "its instances do not answer the only load monitor that could be asked, and one is not enough"
			case l.Why != "" || t.seen != blind: // who can be asked changes with each look
				t.said = l.Why
			}
			t.seen = blind
		}
	case t.met && t.seen == answers: // an instance may be starting anew at this moment
		t.seen = doubted
	default:
		t.seen, t.silent = dead, l.Silent
	}
	return t
}

// hosting says whether it matters what becomes of a node: instances run there, and it is not down yet.
func hosting(n Node) bool { return n.Hosts && n.Down == nil }

// declare picks the nodes that are declared down now: the longest gone first.
func (s *State) declare(in Sight, g guard) (out []Verdict) {
	if g.blocked() || in.Paused {
		return nil
	}
	for _, name := range g.dead[:min(len(g.dead), g.left)] {
		t := s.tracks[name]
		out = append(out, Verdict{name, cluster.Down{Reason: t.why(in.Now), Since: in.Now.UTC().Truncate(time.Millisecond)}})
		t.declared, t.seen = in.Now, unseen // should the write get lost, it is looked at again
		s.tracks[name] = t
		s.declared = append(s.declared, in.Now)
	}
	return out
}

// withdraw takes one of the verdicts back that were given last. It was not written, and is no reason to wait: the next decision
// gives it again, unless what was said meanwhile is against it.
func (s *State) withdraw(node string) {
	t := s.tracks[node]
	t.declared, t.seen = time.Time{}, dead
	s.tracks[node] = t
	s.declared = s.declared[:len(s.declared)-1]
}
