package foreman

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func asking(id string, a cluster.Ask) *cluster.Operations {
	return &cluster.Operations{
		Assigned: map[string]map[string]cluster.Assignment{"n1": {id: {Service: "a", Wanted: cluster.WantServing}}},
		Launched: map[string]map[string]cluster.Launched{"n1": {id: {Service: "a", Phase: cluster.PhaseReady, Ask: &a}}},
	}
}

// What was heard once is neither news again nor another number, whoever leads and however many there are by then.
func TestAnAskIsHeardOnce(t *testing.T) {
	t.Parallel()
	ask := cluster.Ask{More: 2, Reason: "queue is long", For: cluster.Duration(time.Minute), At: noon.Add(-time.Hour)} // its node's clock is wrong
	ops, before := asking("a-1", ask), cluster.Scaled{Replicas: 3}
	first := listen("a", ops, before, noon)
	require.Equal(t, []string{"instance a-1 asks for 5: queue is long"}, first.news)
	want := []loadmon.Ask{{By: "instance a-1", Want: 5, Why: "queue is long"}}
	require.Equal(t, want, first.asks)

	before = cluster.Scaled{Replicas: 5, Heard: first.heard}
	again := listen("a", ops, before, noon.Add(59*time.Second))
	require.Empty(t, again.news)
	require.Equal(t, want, again.asks)
	over := listen("a", ops, before, noon.Add(time.Minute))
	require.Empty(t, over.asks, "its time is over")
	require.Empty(t, over.news)
	require.Equal(t, first.heard, over.heard, "it would be new again otherwise")

	ask.At = noon
	next := listen("a", asking("a-1", ask), before, noon.Add(30*time.Second))
	require.Equal(t, []string{"instance a-1 asks for 7: queue is long"}, next.news)

	gone := listen("a", &cluster.Operations{}, before, noon.Add(30*time.Second))
	require.Equal(t, want, gone.asks, "it counts for its time")
	require.Empty(t, listen("a", &cluster.Operations{}, before, noon.Add(time.Minute)).heard, "then nothing is left of it")
}

func TestWhoIsNotHeard(t *testing.T) {
	t.Parallel()
	ask := cluster.Ask{Replicas: 5, For: cluster.Duration(24 * time.Hour), At: noon}
	for name, change := range map[string]func(*cluster.Operations){
		"of another service": func(o *cluster.Operations) { o.Launched["n1"]["a-1"] = cluster.Launched{Service: "b", Ask: &ask} },
		"not assigned":       func(o *cluster.Operations) { delete(o.Assigned["n1"], "a-1") },
		"on its way out": func(o *cluster.Operations) {
			o.Assigned["n1"]["a-1"] = cluster.Assignment{Service: "a", Wanted: cluster.WantDrained}
		},
	} {
		ops := asking("a-1", ask)
		change(ops)
		require.Empty(t, listen("a", ops, cluster.Scaled{}, noon).heard, name)
	}
	h := listen("a", asking("a-1", ask), cluster.Scaled{}, noon).heard["a-1"]
	require.Equal(t, noon.Add(time.Hour), h.Until, "nobody is heard for ever")

	many := asking("a-1", ask)
	for i := range 3 * mostHeard {
		id := "a-" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		many.Assigned["n1"][id], many.Launched["n1"][id] = many.Assigned["n1"]["a-1"], many.Launched["n1"]["a-1"]
	}
	crowd := listen("a", many, cluster.Scaled{}, noon)
	require.Len(t, crowd.heard, mostHeard)
	require.Contains(t, crowd.beside(loadmon.ScaleDecision{Reason: "r"}), "; and 95 more ask")

	d := cluster.NewDraft()
	d.Service("a", &cluster.Service{Name: "a"})
	require.Len(t, Unheard(d.Snapshot(1), asking("a-1", ask)), 1)
	d.Service("a", &cluster.Service{Name: "a", Scale: &cluster.Scale{Max: 5}})
	require.Empty(t, Unheard(d.Snapshot(2), asking("a-1", ask)))
}
