package loadmon

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// A clock that jumps ends no ejection, starts no slow start and moves no weight, whoever's it is.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		s := newService(map[string]float64{"a": 200, "b": 140, "c": 100})
		s.decide()
		s.steps(60)
		before := s.decision.Shares
		for range 5 { // the leader's: its nodes' reports seem old or from the future
			s.step(func(_ string, m *Measured) { m.At = m.At.Add(-jump) })
			require.Equal(t, before, s.decision.Shares)
		}
		require.Contains(t, s.decision.Reason, "frozen: 3 of 3")
		s.now = s.now.Add(jump) // both
		for range 20 {
			s.step()
			require.False(t, s.decision.Write, s.decision.Reason)
		}
	}
}

func TestNewInstanceStartsSlowly(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
	s.decide()
	s.steps(30)
	s.capacity["d"] = 200
	var parts []float64
	for range 8 {
		d := s.step()
		parts = append(parts, math.Round(100*3*float64(d.Shares["d"])/float64(Whole-d.Shares["d"]))/100)
	}
	require.Equal(t, []float64{0.1, 0.17, 0.33, 0.5, 0.67, 0.83, 1, 1}, parts, "of what the others have")
	require.Equal(t, Whole, total(s.decision.Shares))
}

// An instance that went away keeps its weight for its return, and agents find it at a tenth until the leader noticed.
func TestReturn(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 100})
	s.decide()
	s.steps(60)
	delete(s.capacity, "c")
	require.False(t, s.step().Write, "the others' weights are as they were: %s", s.decision.Reason)
	s.capacity["e"] = 200
	require.InDelta(t, 0.1*0.5*Whole/3, s.step().Weights().Share["c"], 6000)
	s.capacity["c"] = 100
	s.steps(10)
	require.InEpsilon(t, 0.5, float64(s.decision.Shares["c"])/float64(s.decision.Shares["a"]), 0.05)
	require.Less(t, s.state.tracks["c"].samples, 12, "what it could take before is a first guess")
	delete(s.capacity, "c")
	for range 130 {
		s.step()
	}
	require.NotContains(t, s.state.tracks, "c", "forgotten after ten minutes")
}

func TestResume(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 140, "c": 100, "d": 100})
	s.state = Resume(&cluster.Weights{
		Share:   map[string]int{"a": 400_000, "b": 280_000, "c": 200_000},
		Ejected: map[string]cluster.Ejection{"b": {Reason: "it failed", Since: noon}},
	})
	d := s.decide()
	require.Equal(t, "it failed", d.Ejected["b"].Reason)
	require.Less(t, d.Shares["d"], d.Shares["c"]/5, "the one that nobody wrote of is new")
	require.InEpsilon(t, 2, float64(d.Shares["a"])/float64(d.Shares["c"]), 0.001)
	empty, _ := Weights(Resume(nil), Input{Now: noon, Instances: s.candidates(), Policy: DefaultPolicy()})
	require.Equal(t, map[string]int{"a": 250_000, "b": 250_000, "c": 250_000, "d": 250_000}, empty.written)
}

func TestNobody(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200})
	s.decide()
	s.steps(3)
	require.Equal(t, map[string]int{"a": Whole}, s.decision.Shares)
	s.capacity = nil
	d := s.step()
	require.False(t, d.Write)
	require.Equal(t, "no instance may take traffic", d.Reason)
	s.capacity = map[string]float64{"a": 200}
	require.Equal(t, map[string]int{"a": Whole}, s.step().Shares)
}
