package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// quantile is the smallest of the values that a share p of them does not exceed; the values are sorted.
func quantile[T any](sorted []T, p float64) T {
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// p50p99 is a row of many durations.
func p50p99(what string, took []time.Duration) Row {
	sorted := slices.Sorted(slices.Values(took))
	p50, p99, worst := millis(quantile(sorted, 0.5)), millis(quantile(sorted, 0.99)), millis(sorted[len(sorted)-1])
	return Row{
		What:    what,
		Value:   fmt.Sprintf("p50 %.3g ms, p99 %.3g ms (n %d, max %.3g)", p50, p99, len(sorted), worst),
		Numbers: map[string]float64{"p50_ms": p50, "p99_ms": p99, "max_ms": worst, "n": float64(len(sorted))},
	}
}

// median is a row of few durations.
func median(what string, took []time.Duration) Row {
	sorted := slices.Sorted(slices.Values(took))
	p50, best, worst := quantile(sorted, 0.5).Seconds(), sorted[0].Seconds(), sorted[len(sorted)-1].Seconds()
	row := Row{
		What: what, Value: fmt.Sprintf("%.3g s", p50),
		Numbers: map[string]float64{"median_s": p50, "min_s": best, "max_s": worst, "n": float64(len(sorted))},
	}
	if len(sorted) == 1 {
		return row
	}
	return row.also(" (of %d: %.3g..%.3g)", len(sorted), best, worst)
}

// interval is the median and its 95 % interval by order statistics: the number of values below the true median is
// binomial with n and 1/2, whatever their distribution, so the k-th smallest and k-th largest enclose it.
func interval(values []float64) (median, low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	k, tail := 0, math.Pow(0.5, float64(n)) // tail: P(fewer than k+1 values lie below the true median)
	for term := tail; tail <= 0.025 && k < n/2; {
		k++
		term *= float64(n-k+1) / float64(k)
		tail += term
	}
	low, high = sorted[max(k-1, 0)], sorted[n-max(k, 1)]
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, low, high
}
