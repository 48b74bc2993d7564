package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func nodesNamed(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("node-%03d", i))
	}
	return names
}

func TestObserversAreThree(t *testing.T) {
	t.Parallel()
	require.Empty(t, (*cluster.Observers)(nil).Of("a", "i1"))
	require.Empty(t, cluster.NewObservers(nil).Of("a", "i1"))
	for n, want := range []int{0, 1, 2, 3, 3, 3} {
		chosen := cluster.NewObservers(nodesNamed(n)).Of("a", "i1")
		require.Len(t, chosen, want)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(chosen))), want, "each is another node")
	}
	require.Len(t, cluster.NewObservers([]string{"a", "b", "a", "a"}).Of("s", "i"), 2)
}

// The order in which a node learned of the others must not matter, and names are told apart where they meet.
func TestObserversAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	names := nodesNamed(40)
	want := cluster.NewObservers(names)
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		got := cluster.NewObservers(names)
		for i := range 50 {
			require.Equal(t, want.Of("a", fmt.Sprint(i)), got.Of("a", fmt.Sprint(i)))
		}
	}
	require.Equal(t, []string{"node-021", "node-020", "node-024"}, want.Of("a", "192.168.10.1:80"), "versions must agree: never change the hash")
	require.NotEqual(t, want.Of("ab", "c"), want.Of("a", "bc"))
}

// One node more or less moves only what it wins or loses: of n nodes about three of n instances, each by one observer.
func TestObserversMoveLittle(t *testing.T) {
	t.Parallel()
	const nodes, instances = 50, 5000
	all := nodesNamed(nodes)
	before, after := cluster.NewObservers(all), cluster.NewObservers(all[1:])
	load, moved := map[string]int{}, 0
	for i := range instances {
		id := fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)
		was, is := before.Of("a", id), after.Of("a", id)
		for _, n := range was {
			load[n]++
		}
		if !slices.Contains(was, all[0]) {
			require.Equal(t, was, is, "only instances of the node that left move")
			continue
		}
		moved++
		for _, n := range was {
			require.True(t, n == all[0] || slices.Contains(is, n), "the other two go on")
		}
	}
	require.Equal(t, load[all[0]], moved)
	for _, n := range all {
		require.InDelta(t, 3*instances/nodes, load[n], 0.25*3*instances/nodes, "the work is shared evenly: %s", n)
	}
}
