package cluster_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestProblemsStaySorted whatever comes and goes between two snapshots, and older snapshots keep what they had.
func TestProblemsStaySorted(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	d, want := cluster.NewDraft(), map[string]cluster.Problem{}
	var before, kept []cluster.Problem
	for round := range 2000 {
		for range random.IntN(8) {
			key := fmt.Sprint("key ", random.IntN(30))
			if random.IntN(2) == 0 {
				delete(want, key)
				d.Problem(key, nil)
				continue
			}
			// The fix does not count in their order.
			p := cluster.Problem{Object: key, What: fmt.Sprint(random.IntN(3)), Fix: fmt.Sprint(random.IntN(2))}
			want[key] = p
			d.Problem(key, &p)
		}
		got := d.Snapshot(int64(round)).Problems
		require.Equal(t, slices.SortedFunc(maps.Values(want), cluster.Problem.Compare), got, "round %d", round)
		require.Equal(t, kept, before, "the snapshot before has changed")
		before, kept = got, slices.Clone(got)
	}
}

// TestProblemsAreShared by snapshots between which none changed: there may be a hundred thousand.
func TestProblemsAreShared(t *testing.T) {
	t.Parallel()
	d, p := cluster.NewDraft(), cluster.Problem{Object: "key a"}
	d.Problem("a", &p)
	one := d.Snapshot(1)
	d.Problem("a", &p)
	d.Problem("b", nil)
	two := d.Snapshot(2)
	require.Same(t, &one.Problems[0], &two.Problems[0])
}

func TestMergeProblems(t *testing.T) {
	t.Parallel()
	problems := func(objects ...string) (out []cluster.Problem) {
		for _, o := range objects {
			out = append(out, cluster.Problem{Object: o})
		}
		return out
	}
	for _, c := range []struct{ list, more, want []cluster.Problem }{
		{nil, nil, nil},
		{problems("a"), nil, problems("a")},
		{nil, problems("a"), problems("a")},
		{problems("b", "d"), problems("a", "c", "e"), problems("a", "b", "c", "d", "e")},
		{problems("a", "a"), problems("a", "b", "b"), problems("a", "a", "a", "b", "b")},
	} {
		require.Equal(t, c.want, cluster.MergeProblems(c.list, c.more))
	}
	old, new := cluster.Problem{Object: "a", Fix: "old"}, cluster.Problem{Object: "a", Fix: "new"}
	require.Equal(t, []cluster.Problem{old, new}, cluster.MergeProblems([]cluster.Problem{old}, []cluster.Problem{new}))
}
