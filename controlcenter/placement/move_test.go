package placement

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// loads is a world whose nodes are as busy as what runs there makes them.
type loads struct {
	*world
	base    map[string]float64 // of each node, without our instances
	demand  map[string]float64 // of each service, over its instances
	silent  map[string]bool    // nodes whose monitors do not answer
	moves   []string           // "a n1 n2"
	movedAt map[string]time.Time
	sampled map[string][]float64 // of each node, the last few
}

func newLoads(t require.TestingT, nodes int) *loads {
	w := &loads{world: newWorld(t, nodes), base: map[string]float64{}, demand: map[string]float64{}, silent: map[string]bool{}, movedAt: map[string]time.Time{}, sampled: map[string][]float64{}}
	w.heats, w.shares = map[string]Heat{}, map[string]map[string]float64{}
	return w
}

// sample is what monitors measure: the connections of a service are spread over those that take them.
func (w *loads) sample() {
	busy := maps.Clone(w.base)
	for name := range w.services {
		w.shares[name] = map[string]float64{}
		takes := w.takes(name)
		for node, assigned := range w.ops.Assigned {
			for id := range assigned {
				if slices.Contains(takes, id) {
					share := w.demand[name] / float64(len(takes))
					busy[node] += share
					w.shares[name][id] = share
				}
			}
		}
	}
	for node := range w.ops.Launchers {
		if !w.silent[node] {
			w.heats[node] = Heat{Busy: min(busy[node], 1), Sample: w.now.Add(time.Hour), Heard: w.now} // its clock is another one
			w.sampled[node] = append(w.sampled[node], min(busy[node], 1))
		}
	}
}

// pass lets time pass, a second at a time, and samples in each fifth.
func (w *loads) pass(d time.Duration) {
	for end, calm := w.now.Add(d), 0; w.now.Before(end); calm++ {
		if calm > 5 && w.now.Unix()%5 == 0 && w.now.Add(5*time.Second).Before(end) {
			w.now = w.now.Add(4 * time.Second) // nothing happens but the next sample
		}
		if w.now.Unix()%5 == 4 {
			w.sample()
		}
		before, actions := maps.Clone(w.ops.Moved), w.actions
		if w.second(); w.actions == actions {
			continue
		}
		calm = 0
		w.sound()
		for name, m := range w.ops.Moved {
			if before[name] != m {
				w.judge(name, m)
			}
		}
		for name, want := range w.want {
			require.GreaterOrEqual(w.t, w.serving(name), want, "%s at %s", name, w.now)
		}
	}
}

// judge says what must hold of each move.
func (w *loads) judge(name string, m cluster.Moved) {
	last := w.sampled[m.From][max(0, len(w.sampled[m.From])-periods):]
	require.Len(w.t, last, periods)
	for _, busy := range last {
		require.GreaterOrEqual(w.t, busy, hotFrom)
	}
	to := w.sampled[m.To]
	require.Less(w.t, to[len(to)-1], coolBelow)
	if at, moved := w.movedAt[name]; moved {
		require.GreaterOrEqual(w.t, w.now.Sub(at), movePause)
	}
	w.movedAt[name] = w.now
	w.moves = append(w.moves, fmt.Sprintf("%s %s %s", name, m.From, m.To))
}

// ready publishes services and waits until they serve.
func (w *loads) ready(instances map[string]int) {
	for name, n := range instances {
		w.publish(name, n, nil)
	}
	w.settle(time.Minute, nil)
}

func TestAnInstanceMovesOffABusyNode(t *testing.T) {
	t.Parallel()
	w := newLoads(t, 2)
	w.ready(map[string]int{"a": 2, "b": 2})
	w.base = map[string]float64{"n1": 0.6, "n2": 0.1}
	w.demand = map[string]float64{"a": 0.4, "b": 0.2} // n1 is at 0.9, n2 at 0.4
	w.pass(10 * time.Second)
	require.Empty(t, w.moves, "two periods are not enough")
	w.pass(2 * time.Minute)
	require.Equal(t, []string{"a n1 n2"}, w.moves, "the one that takes most, and then it is well")
	require.Equal(t, map[string]int{"n2": 2}, w.hosts("a"))
	require.Equal(t, 1, w.told("moves from node n1 to node n2, as a-"))
	require.Contains(t, w.events[slices.IndexFunc(w.events, func(e string) bool { return e[:5] == "moved" })], "node n1 was 90 % busy for 3 periods, and node n2 40 %")
	w.pass(time.Hour)
	require.Len(t, w.moves, 1)
}

// TestMovesGoOneAfterTheOther lets what one of them changed be seen before the next.
func TestMovesGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newLoads(t, 2)
	w.ready(map[string]int{"a": 2, "b": 2})
	w.base = map[string]float64{"n1": 0.83, "n2": 0}
	w.demand = map[string]float64{"a": 0.2, "b": 0.1}
	gone := time.Time{}
	for len(w.moves) < 2 && w.now.Before(time.Date(2026, 1, 2, 13, 0, 0, 0, time.UTC)) {
		w.pass(time.Second)
		if len(w.moves) == 1 && w.hosts("a")["n1"] == 0 && gone.IsZero() {
			gone = w.now
		}
	}
	require.Equal(t, []string{"a n1 n2", "b n1 n2"}, w.moves)
	require.GreaterOrEqual(t, w.movedAt["b"].Sub(gone), 2*period)
}

func TestNothingMoves(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *loads){
		"to a node that does not fit": func(w *loads) {
			w.publish("a", 2, func(s *cluster.Service) { s.Run.Nodes = map[string]string{"zone": "east"} })
		},
		"to a node that is drained":  func(w *loads) { w.draft.NodeAdmin("n2", &cluster.NodeAdmin{Drain: true}) },
		"to a node that is cordoned": func(w *loads) { w.draft.NodeAdmin("n2", &cluster.NodeAdmin{Cordon: true}) },
		"to a node that is not cool": func(w *loads) { w.base["n2"] = 0.4 },
		"where figures are missing":  func(w *loads) { w.silent["n2"] = true },
		"where figures are old": func(w *loads) {
			w.sample()
			w.silent["n2"] = true
			for range 16 {
				w.second()
			}
		},
		"where it would not help":  func(w *loads) { w.base, w.demand["a"] = map[string]float64{"n1": 0.35, "n2": 0}, 1.1 },
		"that somebody else makes": func(w *loads) { w.base["n1"], w.demand["a"] = 0.95, 0; w.shares = nil },
		"while deletions are held": func(w *loads) { w.draft.Held(&cluster.Held{Reason: "much is missing"}) },
		"that a hook made": func(w *loads) {
			w.equip(func(l *cluster.Launcher) { l.Drivers = []string{"hook", "process"} }, "n1", "n2")
			w.publish("a", 2, func(s *cluster.Service) { s.Run.Driver = cluster.DriverHook })
			w.settle(2*time.Minute, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLoads(t, 2)
			w.ready(map[string]int{"a": 2})
			w.base, w.demand["a"] = map[string]float64{"n1": 0.7, "n2": 0.1}, 0.4
			change(w)
			if w.shares == nil {
				w.shares = map[string]map[string]float64{}
			}
			w.settle(time.Minute, nil)
			for range 24 {
				w.pass(5 * time.Second)
			}
			require.Empty(t, w.ops.Moved)
		})
	}
}

// TestAMoveThatFails leaves the instance where it is: its substitute never becomes ready.
func TestAMoveThatFails(t *testing.T) {
	t.Parallel()
	w := newLoads(t, 2)
	w.ready(map[string]int{"a": 2})
	w.base, w.demand["a"] = map[string]float64{"n1": 0.7, "n2": 0.1}, 0.4
	w.starts = time.Hour
	w.pass(30 * time.Second)
	require.Equal(t, []string{"a n1 n2"}, w.moves)
	require.Equal(t, 3, sum(w.hosts("a", cluster.WantServing)))
	w.state = State{} // also under another leader
	w.base["n1"] = 0
	w.pass(movePause)
	require.Len(t, w.takes("a"), 2)
	require.Equal(t, map[string]int{"n1": 1, "n2": 1}, w.hosts("a", cluster.WantServing), "the substitute is given up")
}

// TestMovesSettle whatever the loads: when they do not change, no instance comes back to where it was, and in the end nothing
// moves; each move is one that may be, and never are there fewer than are wanted.
func TestMovesSettle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newLoads(t, rapid.IntRange(2, 4).Draw(t, "nodes"))
		services := map[string]int{}
		for _, name := range []string{"a", "b", "c"} {
			if n := rapid.IntRange(0, 4).Draw(t, name); n > 0 {
				services[name] = n
			}
		}
		w.ready(services)
		for i := range w.ops.Alive {
			w.base[i] = float64(rapid.IntRange(0, 9).Draw(t, "base of "+i)) / 10
		}
		for name := range services {
			w.demand[name] = float64(rapid.IntRange(0, 20).Draw(t, "demand of "+name)) / 10
		}
		for range rapid.IntRange(1, 2).Draw(t, "parts") {
			w.pass(5 * time.Minute)
			if rapid.Bool().Draw(t, "another leader") {
				w.state = State{}
			}
		}
		for i, m := range w.moves {
			var name, from, to string
			_, err := fmt.Sscan(m, &name, &from, &to)
			require.NoError(t, err)
			require.NotContains(t, w.moves[i:], fmt.Sprintf("%s %s %s", name, to, from), "it comes back: %v", w.moves)
		}
	})
}
