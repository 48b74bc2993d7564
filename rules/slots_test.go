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
		slots, tight := layout(w, false)
		require.GreaterOrEqual(t, slices.Min(tight), 1)
		require.True(t, total(tight) <= tightSlots(len(w)) || total(tight) == len(w))
		require.Len(t, slots, len(w))
		require.GreaterOrEqual(t, slices.Min(slots), 1, "%v gives %v", w, slots)
		require.LessOrEqual(t, total(slots), 2*steadySlots(len(w)))
		for i := range w {
			want, have := float64(w[i])/float64(total(w)), float64(slots[i])/float64(total(slots))
			require.LessOrEqual(t, max(want-have, have-want), max(0.005, 0.10*want)+1e-12, "target %d of weight %d: %v gives %v", i, w[i], w, slots)
		}
		again, _ := layout(w, false)
		require.Equal(t, slots, again, "not deterministic")
	})
}

// The worst that the limits of a service allow: some targets as heavy as can be, the others as light as can be.
func TestApportionHeavyAndLight(t *testing.T) {
	t.Parallel()
	check := func(n, heavy int) {
		w := slices.Repeat([]int{1}, n)
		for i := range heavy {
			w[i] = 1000
		}
		slots, _ := layout(w, false)
		require.True(t, withinBound(w, slots), "%d times 1000 and %d times 1", heavy, n-heavy)
	}
	for n := 2; n <= 300; n++ {
		for heavy := range n {
			check(n, heavy)
		}
	}
	for n := 301; n <= 1000; n += 7 {
		for _, heavy := range []int{1, 2, 3, n / 10, n / 3, n / 2, n - n/10, n - 1} {
			check(n, heavy)
		}
	}
}

func TestApportion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		weights []int
		exact   int
		most    int
		want    []int
	}{
		{"one", []int{17}, 256, 256, []int{1}},
		{"equal: n slots", []int{5, 5, 5}, 256, 256, []int{1, 1, 1}},
		{"equal, beyond the limit", []int{5, 5, 5}, 2, 2, []int{1, 1, 1}},
		{"reduced: exact", []int{300, 100, 200}, 256, 256, []int{3, 1, 2}},
		{"reduced, just within the limit", []int{255, 1}, 256, 256, []int{255, 1}},
		{"the smallest power of two within the bound", []int{1000, 999}, 256, 256, []int{1, 1}},
		{"one more than the limit", []int{256, 1}, 256, 256, []int{127, 1}},
		{"nobody is left out", []int{1000, 1, 1, 1}, 4, 4, []int{1, 1, 1, 1}},
	} {
		require.Equal(t, c.want, apportion(c.weights, c.exact, c.most), c.name)
	}
}

func TestApportionIsExactForEqualWeights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, w := rapid.IntRange(1, 1000).Draw(t, "n"), rapid.IntRange(1, 1000).Draw(t, "weight")
		loose, tight := layout(slices.Repeat([]int{w}, n), false)
		require.Equal(t, slices.Repeat([]int{1}, n), loose)
		require.Equal(t, slices.Repeat([]int{1}, n), tight)
	})
}

// Which target of those with one weight gets a slot more is decided by their order, nothing else is.
func TestApportionDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	type pair struct{ weight, slots int }
	pairs := func(w []int, moving bool) (out map[pair]int) {
		out = map[pair]int{}
		loose, _ := layout(w, moving)
		for i, slots := range loose {
			out[pair{w[i], slots}]++
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		w, moving := weights(t), rapid.Bool().Draw(t, "moving")
		shuffled := slices.Clone(w)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		require.Equal(t, pairs(w, moving), pairs(shuffled, moving))
	})
}

func TestMovingWeightsKeepTheirSize(t *testing.T) {
	t.Parallel()
	require.Equal(t, []int{86, 85, 85}, remainders([]int{1, 1, 1}, 256), "ties go to the first")
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SliceOfN(rapid.IntRange(1, 1_000_000), 1, 100).Draw(t, "weights")
		loose, tight := layout(w, true)
		require.Equal(t, steadySlots(len(w)), total(loose))
		require.Equal(t, tightSlots(len(w)), total(tight))
		require.GreaterOrEqual(t, slices.Min(loose), 1)
		require.GreaterOrEqual(t, slices.Min(tight), 1)
	})
}
