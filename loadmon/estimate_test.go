package loadmon

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// calm is an estimate of many samples with a standard deviation of a tenth.
func calm() estimate { return estimate{samples: 60, variance: 0.01} }

// Two outliers begin an estimate anew where there is a queue, and three elsewhere; one is enough beyond doubt, in a queue.
func TestAlarms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		off  float64 // of each sample
		full bool
		want int // samples until it begins anew
	}{
		{"it can take more", 0.6, false, 3},
		{"it can take less", -0.6, false, 3},
		{"it can take less, and has a queue", -0.6, true, 2},
		{"it can take far less, and has a queue", -0.9, true, 1},
		{"far less, without a queue", -0.9, false, 3},
		{"a little less, again and again", -0.25, false, 7},
	} {
		e, n := calm(), 0
		for n = 1; n < 20; n++ {
			before := e.samples
			if e.learn(test.off, sample{full: test.full}); e.samples < before {
				break
			}
		}
		require.Equal(t, test.want, n, test.name)
		require.InDelta(t, test.off, e.capacity, 1e-9, test.name)
	}
}

// A young estimate is followed on a hunch.
func TestCertainty(t *testing.T) {
	t.Parallel()
	e := estimate{samples: shortest - 1}
	require.Equal(t, hunch, e.certainty())
	e.samples++
	require.Equal(t, certainty, e.certainty())
}
