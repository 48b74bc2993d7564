package loadmon

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// An application that says 0.5 whatever it does would get ever more, or stay with what it has: it is found out, goes back to its
// share of the file, and counts again when it says something else.
func TestConstantUtilizationIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 100, "b": 100, "c": 100})
	s.policy.Tells = true
	s.decide()
	honest, base := false, s.rate
	tell := func(id string, m *Measured) {
		m.Utilization = new(m.Busy)
		if id == "a" && !honest {
			m.Utilization = new(0.2)
		}
	}
	wrong := 0.0
	for i := range 40 {
		s.rate = base * []float64{1, 1.5, 1, 0.4}[i%4]
		s.step(tell)
		wrong = max(wrong, float64(s.decision.Shares["a"]))
	}
	require.Greater(t, wrong, 0.4*Whole, "for a while it was believed")
	require.InDelta(t, Whole/3, s.decision.Shares["a"], 0.02*Whole)
	require.Len(t, s.decision.Problems, 1)
	require.Equal(t, "instance a", s.decision.Problems[0].Field)
	require.Regexp(t, `^it says a utilization of 0.2 all the time, while its new connections went from [0-9.]+ to [0-9.]+ a second`, s.decision.Problems[0].What)
	f := s.state.Figures()["a"]
	require.True(t, math.IsNaN(f.Utilization))
	require.InDelta(t, s.loads["a"].Busy, f.Busy, 1e-9, "what its node sees is used for the number of instances")
	honest, s.capacity["a"] = true, 50
	for i := range 60 {
		s.rate = base * []float64{0.8, 1, 0.8, 0.6}[i%4]
		s.step(tell)
	}
	require.Empty(t, s.decision.Problems)
	require.InEpsilon(t, 2, float64(s.decision.Shares["b"])/float64(s.decision.Shares["a"]), 0.15)
}

func TestConstant(t *testing.T) {
	t.Parallel()
	stuck := func(value float64, rates ...float64) bool {
		var c constant
		for i := range constantFor {
			c = c.heard(&value, window{seconds: 5, opened: 5 * rates[i%len(rates)]})
		}
		return c.stuck()
	}
	require.True(t, stuck(0.5, 10, 25))
	require.False(t, stuck(0.5, 10), "the load is constant, too")
	require.False(t, stuck(0.5, 1, 4), "so little may be chance")
	require.False(t, stuck(0.5, 10, 18), "it may tell tenths")
	require.False(t, stuck(0.1, 10, 30), "and then these are 0.1")
	require.True(t, stuck(0.1, 10, 60))
	require.False(t, stuck(0, 10, 1000))
	require.False(t, stuck(1, 10, 1000), "it has too much to do all the time")
	var c constant
	for i := range 100 {
		c = c.heard(new(0.5+0.001*float64(i%11)), window{seconds: 5, opened: float64(100 * (i % 5))})
		require.False(t, c.stuck())
	}
	require.Zero(t, c.heard(nil, window{seconds: 5}))
}
