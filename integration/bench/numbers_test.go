package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInterval(t *testing.T) {
	for _, tc := range []struct {
		n         int
		low, high float64 // ranks of a table of binomial intervals for the median, 95 %
	}{{10, 2, 9}, {20, 6, 15}, {30, 10, 21}, {100, 40, 61}} {
		values := make([]float64, tc.n)
		for i := range values {
			values[(i*7+3)%tc.n] = float64(i + 1)
		}
		median, low, high := interval(values)
		require.Equal(t, []float64{float64(tc.n+1) / 2, tc.low, tc.high}, []float64{median, low, high}, "n %d", tc.n)
	}
}

func TestQuantile(t *testing.T) {
	values := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	require.Equal(t, []int{1, 5, 10, 10}, []int{quantile(values, 0), quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)})
}

// TestUsualText shows what Weir is compared with.
func TestUsualText(t *testing.T) {
	require.Contains(t, usualText(1, byMap), "add rule ip usual service-0 numgen random mod 5 vmap { 0 : goto endpoint-0-0, 1 : goto endpoint-0-1,")
	require.Contains(t, usualText(1, byChance), "add rule ip usual service-0 numgen random mod 5 0 goto endpoint-0-0\nadd rule ip usual service-0 numgen random mod 4 0 goto endpoint-0-1\n")
	require.Contains(t, usualText(1, byChance), "add rule ip usual service-0 goto endpoint-0-4\n")
}
