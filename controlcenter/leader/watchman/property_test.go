package watchman

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever happens to machines, agents, monitors, etcd and leaders: the guard holds, nobody is declared down who is alive or
// answers, and nobody before he was watched for long enough.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(rapid.IntRange(1, 12).Draw(t, "nodes"))
		limit := max(1, len(s.machines)*30/100)
		s.check = func(o Orders) { requireSound(t, s, o, limit) }
		name := rapid.SampledFrom(s.names())
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"kill", "kill", "stop", "revive", "revive", "monitor", "etcd", "elect", "pause", "clear", "many"}).Draw(t, "what") {
			case "kill":
				s.kill(name.Draw(t, "node"))
			case "stop":
				s.stop(name.Draw(t, "node"))
			case "revive":
				s.revive(name.Draw(t, "node"))
			case "monitor":
				m := s.machines[name.Draw(t, "node")]
				m.monitor = !m.monitor
			case "etcd":
				s.etcd = !s.etcd
			case "elect":
				s.elect()
			case "pause":
				s.sight.Paused = !s.sight.Paused
			case "clear":
				at := name.Draw(t, "node")
				n := s.sight.Nodes[at]
				n.Down = nil
				s.sight.Nodes[at] = n
			case "many":
				s.kill(rapid.SliceOfN(name, 1, 12).Draw(t, "nodes")...)
			}
			s.run(time.Duration(rapid.IntRange(1, 300).Draw(t, "ticks")) * tick)
		}
	})
}

func requireSound(t *rapid.T, s *sim, o Orders, limit int) {
	for _, v := range o.Down {
		m := s.machines[v.Node]
		switch {
		case s.sight.Alive[v.Node], s.sight.Nodes[v.Node].Down != nil:
			t.Fatalf("%s is alive, or down already", v.Node)
		case m.on && s.now.Sub(m.since) > fresh+time.Second+2*tick:
			t.Fatalf("%s has been answering for %s", v.Node, s.now.Sub(m.since))
		case s.now.Sub(s.led) < leaseTTL+goneFor:
			t.Fatalf("%s: the leader watches for %s only", v.Node, s.now.Sub(s.led))
		case !s.etcd && s.now.Sub(s.sight.Answered) > deaf:
			t.Fatalf("%s: etcd does not answer", v.Node)
		case s.sight.Paused:
			t.Fatalf("%s: paused", v.Node)
		}
	}
	if len(o.Down) == 0 {
		return
	}
	recent := len(o.Down)
	for _, d := range s.declared {
		if s.now.Sub(d.at) < window && d.at.After(s.led.Add(-tick)) {
			recent++
		}
	}
	if recent > limit {
		t.Fatalf("%d nodes within a minute, at most %d may", recent, limit)
	}
	missing := 0
	for name, n := range s.sight.Nodes {
		unwatched := s.state.tracks[name].seen == answers || s.state.tracks[name].seen == doubted
		justNow := slices.ContainsFunc(o.Down, func(v Verdict) bool { return v.Node == name })
		if (!s.sight.Alive[name] && n.Down == nil && !unwatched && !s.state.tracks[name].settling(s.now)) || justNow {
			missing++
		}
	}
	if missing > limit {
		t.Fatalf("%d nodes are gone at once, and yet %d are declared down", missing, len(o.Down))
	}
}
