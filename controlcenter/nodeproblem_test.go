package controlcenter

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestNodeProblems: what several nodes tell of is one thing, whoever tells it how often and in which order.
func TestNodeProblems(t *testing.T) {
	t.Parallel()
	require.Empty(t, NodeProblems(Fleet{}))
	everywhere, here := cluster.Problem{Object: "service b", What: "bad"}, cluster.Problem{Object: "service a", What: "bad"}
	mended, otherwise := cluster.Problem{Object: "service b", What: "bad", Fix: "mend it"}, cluster.Problem{Object: "service b", Field: "vips", What: "bad"}
	applied := map[string]cluster.Applied{"n9": {}}
	for i := range 8 {
		applied[fmt.Sprintf("n%d", i+1)] = cluster.Applied{Problems: []cluster.Problem{everywhere, everywhere}}
	}
	applied["n3"] = cluster.Applied{Problems: []cluster.Problem{otherwise, mended, everywhere, here}}
	got := NodeProblems(Fleet{Applied: applied})
	require.Zero(t, Fleet{Applied: applied}.Untold())
	require.Equal(t, []NodeProblem{
		{here, []string{"n3"}},
		{everywhere, []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"}},
		{mended, []string{"n3"}},
		{otherwise, []string{"n3"}},
	}, got)
	require.Equal(t, []string{"node n3", "8 nodes (n1, n2, n3, n4, n5 and 3 more)"}, []string{got[0].Who(), got[1].Who()})

	// A load monitor of its own is one more voice of its node.
	f := Fleet{Applied: map[string]cluster.Applied{"n1": {Problems: []cluster.Problem{here}, ProblemCount: 3}}, Loadmons: map[string]cluster.Loadmon{
		"n1": {Problems: []cluster.Problem{here, everywhere}, ProblemCount: 7}, "n2": {Problems: []cluster.Problem{everywhere}},
	}}
	require.Equal(t, []NodeProblem{{here, []string{"n1"}}, {everywhere, []string{"n1", "n2"}}}, NodeProblems(f))
	require.Equal(t, 7, f.Untold(), "2 of the agent's, 5 of the load monitor's")
}

// What a node tells and everybody can see is told as the latter.
func TestTroublesOfNodes(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	seen, told, alone := cluster.Problem{Object: "key net/services/x", What: "not JSON"}, cluster.Problem{Object: "node", What: "no room"}, cluster.Problem{Object: "node", What: "old kernel"}
	d.Problem("net/services/x", &seen)
	troubles, err := Troubles(d.Snapshot(1), Told{Fleet: Fleet{Applied: map[string]cluster.Applied{
		"n1": {Problems: []cluster.Problem{seen, told}}, "n2": {Problems: []cluster.Problem{told, alone}}, "n3": {Problems: []cluster.Problem{told}},
	}}}, "")
	require.NoError(t, err)
	require.Equal(t, []Trouble{
		{Problem: told, Node: "n1", Nodes: []string{"n1", "n2", "n3"}}, {Problem: alone, Node: "n2"}, {Problem: seen, Service: "x"},
	}, troubles)
}
