package stats

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChiSquareP(t *testing.T) {
	tests := []struct {
		name    string
		counts  map[string]int
		weights map[string]int
		want    float64
	}{
		{"as expected", map[string]int{"a": 50, "b": 50}, map[string]int{"a": 1, "b": 1}, 1},
		// Statistic 4 at one degree of freedom.
		{"two sigma", map[string]int{"a": 60, "b": 40}, map[string]int{"a": 1, "b": 1}, 0.0455},
		// Statistic 4 at two degrees of freedom: exp(-2).
		{"weights", map[string]int{"a": 220, "b": 90, "c": 90}, map[string]int{"a": 2, "b": 1, "c": 1}, 0.1353},
		{"one instance", map[string]int{"a": 7}, map[string]int{"a": 3}, 1},
		{"nothing", nil, map[string]int{"a": 1, "b": 1}, 1},
		{"drained", map[string]int{"a": 50, "b": 50, "c": 1}, map[string]int{"a": 1, "b": 1, "c": 0}, 0},
		{"stranger", map[string]int{"a": 50, "b": 50, "x": 1}, map[string]int{"a": 1, "b": 1}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.InDelta(t, test.want, ChiSquareP(test.counts, test.weights), 0.0001)
		})
	}
}

func TestPower(t *testing.T) {
	right := map[string]int{"a": 1, "b": 1, "c": 1}
	require.InDelta(t, 0.05, Power(right, right, 10_000, 4000, 0.05), 0.015, "right shares are found wrong as often as alpha says")
	require.InDelta(t, 1, Power(right, map[string]int{"a": 110, "b": 95, "c": 95}, 50_000, 200, 1e-5), 0.001)
	require.Less(t, Power(right, map[string]int{"a": 101, "b": 100, "c": 100}, 50_000, 200, 1e-5), 0.01, "one percent cannot be seen")
}
