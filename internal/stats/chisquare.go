// Package stats judges whether counts agree with the shares that they should have.
package stats

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// ChiSquareP is the probability that counts differ from the weights at least as much as they do if each connection was
// sent to an instance by chance in proportion to its weight (Pearson's chi-squared test). An instance of weight 0, or
// without a weight, must have no connection: otherwise it is 0.
func ChiSquareP(counts map[string]int, weights map[string]int) float64 {
	n, sum := 0, 0
	for id, count := range counts {
		if count > 0 && weights[id] == 0 {
			return 0
		}
		n += count
	}
	for _, w := range weights {
		sum += w
	}
	statistic, freedom := 0.0, -1
	for id, w := range weights {
		if w == 0 {
			continue
		}
		freedom++
		expected := float64(n) * float64(w) / float64(sum)
		d := float64(counts[id]) - expected
		statistic += d * d / expected
	}
	if freedom < 1 || n == 0 {
		return 1
	}
	return mathext.GammaIncRegComp(float64(freedom)/2, statistic/2)
}

// Power is the share of runs in which ChiSquareP falls below alpha when n connections are spread by the wrong weights
// and judged by the right ones. It is found by drawing that many runs, always the same ones.
func Power(right, wrong map[string]int, n, runs int, alpha float64) float64 {
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range runs {
		if ChiSquareP(draw(random, wrong, n), right) < alpha {
			found++
		}
	}
	return float64(found) / float64(runs)
}

// draw spreads n connections by weights: one binomial draw after the other, each of what is left.
func draw(random *rand.Rand, weights map[string]int, n int) map[string]int {
	sum, counts := 0, map[string]int{}
	for _, w := range weights {
		sum += w
	}
	for _, id := range slices.Sorted(maps.Keys(weights)) { // in order, or equal seeds would draw differently
		w := weights[id]
		if w == sum {
			counts[id] = n
			break
		}
		counts[id] = binomial(random, n, float64(w)/float64(sum))
		n, sum = n-counts[id], sum-w
	}
	return counts
}

// binomial is exact for small n and normal for what the tests draw: hundreds of successes and more.
func binomial(random *rand.Rand, n int, p float64) int {
	if mean := float64(n) * p; mean > 100 && float64(n)-mean > 100 {
		k := math.Round(mean + random.NormFloat64()*math.Sqrt(mean*(1-p)))
		return int(min(max(k, 0), float64(n)))
	}
	k := 0
	for range n {
		if random.Float64() < p {
			k++
		}
	}
	return k
}
