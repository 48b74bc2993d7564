package rules

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// weights draws the weights of one frontend, small ones more often; sometimes all alike or alike but for one.
func weights(t *rapid.T) []int {
	most := rapid.SampledFrom([]int{4, 64, 64, 64, 1000}).Draw(t, "most")
	weight := rapid.SampledFrom([]*rapid.Generator[int]{
		rapid.IntRange(1, 1000), rapid.IntRange(1, 5), rapid.Just(7), rapid.SampledFrom([]int{1, 1000}), rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1000}),
	}).Draw(t, "kind")
	return rapid.SliceOfN(weight, 1, most).Draw(t, "weights")
}

func TestApportionKeepsItsPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := weights(t)
		slots := apportion(w, maxSlots(len(w)), false)
		require.Len(t, slots, len(w))
		require.GreaterOrEqual(t, slices.Min(slots), 1, "%v gives %v", w, slots)
		require.LessOrEqual(t, total(slots), maxSlots(len(w)))
		for i := range w {
			want, have := float64(w[i])/float64(total(w)), float64(slots[i])/float64(total(slots))
			require.LessOrEqual(t, max(want-have, have-want), max(0.005, 0.10*want)+1e-12, "target %d of weight %d: %v gives %v", i, w[i], w, slots)
		}
		require.Equal(t, slots, apportion(w, maxSlots(len(w)), false), "not deterministic")
	})
}

// The worst that the limits of a service allow: one heavy target, the others as light as can be.
func TestApportionOneHeavyTarget(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 1000; n++ {
		w := make([]int, n)
		for i := range w {
			w[i] = 1
		}
		w[0] = 1000
		require.True(t, withinBound(w, apportion(w, maxSlots(n), false)), "1000 and %d times 1", n-1)
		require.True(t, withinBound(w, apportion(w, maxSlots(n), true)), "fixed, 1000 and %d times 1", n-1)
	}
}

func TestApportion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		weights []int
		limit   int
		fixed   bool
		want    []int
	}{
		{"one", []int{17}, 256, false, []int{1}},
		{"equal: n slots", []int{5, 5, 5}, 256, false, []int{1, 1, 1}},
		{"equal, beyond the limit", []int{5, 5, 5}, 2, false, []int{1, 1, 1}},
		{"reduced: exact", []int{300, 100, 200}, 256, false, []int{3, 1, 2}},
		{"reduced, just within the limit", []int{255, 1}, 256, false, []int{255, 1}},
		{"the smallest power of two within the bound", []int{1000, 999}, 256, false, []int{1, 1}},
		{"one more than the limit", []int{256, 1}, 256, false, []int{127, 1}},
		{"nobody is left out", []int{1000, 1, 1, 1}, 4, false, []int{1, 1, 1, 1}},
		{"fixed: always the limit", []int{1, 1}, 8, true, []int{4, 4}},
		{"fixed: ties go to the first", []int{1, 1, 1}, 8, true, []int{3, 3, 2}},
	} {
		require.Equal(t, c.want, apportion(c.weights, c.limit, c.fixed), c.name)
	}
}

func TestApportionIsExactForEqualWeights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, w := rapid.IntRange(1, 1000).Draw(t, "n"), rapid.IntRange(1, 1000).Draw(t, "weight")
		for _, limit := range []int{maxSlots(n), tightSlots(n)} {
			require.Equal(t, slices.Repeat([]int{1}, n), apportion(slices.Repeat([]int{w}, n), limit, false))
		}
	})
}

// Which target of those with one weight gets a slot more is decided by their order, nothing else is.
func TestApportionDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	type pair struct{ weight, slots int }
	pairs := func(w []int, fixed bool) (out map[pair]int) {
		out = map[pair]int{}
		for i, slots := range apportion(w, maxSlots(len(w)), fixed) {
			out[pair{w[i], slots}]++
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		w, fixed := weights(t), rapid.Bool().Draw(t, "fixed")
		shuffled := slices.Clone(w)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		require.Equal(t, pairs(w, fixed), pairs(shuffled, fixed))
	})
}

func TestApportionFixedKeepsItsSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SliceOfN(rapid.IntRange(1, 1_000_000), 1, 100).Draw(t, "weights")
		for _, limit := range []int{maxSlots(len(w)), tightSlots(len(w))} {
			slots := apportion(w, limit, true)
			require.Equal(t, limit, total(slots))
			require.GreaterOrEqual(t, slices.Min(slots), 1)
		}
	})
}
