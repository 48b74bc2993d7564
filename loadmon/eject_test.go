package loadmon

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEjection(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200, "d": 200})
	s.decide()
	s.steps(5)
	fails := func(ids ...string) func(string, *Measured) {
		return func(id string, m *Measured) {
			if slices.Contains(ids, id) {
				m.Failed, m.FailedInRow = uint64(m.Uptime/time.Second), 7
			}
		}
	}
	out := func(d Decision) []string { return slices.Sorted(maps.Keys(d.Ejected)) }
	d := s.step(fails("a", "b"))
	require.True(t, d.Write)
	require.Equal(t, []string{"a"}, out(d), "at most a third")
	require.Equal(t, "7 connections in a row failed", d.Ejected["a"].Reason)
	require.Equal(t, s.now, d.Ejected["a"].Since)
	for range 5 {
		require.Equal(t, []string{"a"}, out(s.step()))
	}
	d = s.step()
	require.Empty(t, out(d), "30 s are over")
	require.Less(t, d.Shares["a"], d.Shares["b"]/8, "with a slow start")
	stale := func(id string, m *Measured) {
		if id == "a" { // nothing went there since, so nothing could succeed either
			m.Failed, m.FailedInRow = s.state.tracks["a"].failed, 7
		}
	}
	require.Empty(t, out(s.step(stale)))
	s.step(fails("a"))
	rounds := 0
	for ; len(s.decision.Ejected) > 0; rounds++ {
		s.step()
	}
	require.Equal(t, 12, rounds, "the second time lasts twice as long")
	for range int(ejectForget/Interval) + 1 {
		s.step(stale)
	}
	require.Equal(t, 1, s.state.tracks["a"].times, "one is forgotten after five minutes without another")

	most := newService(map[string]float64{"a": 200, "b": 200, "c": 200, "d": 200})
	most.decide()
	most.steps(5)
	begin := func(id string, m *Measured) {
		if id == "c" {
			m.FailedInRow = 1
		}
	}
	for range 5 {
		require.Empty(t, out(most.step(fails("a", "b"), begin)), "three of four fail, so it is none of one's troubles")
	}
	require.Equal(t, []string{"a"}, out(most.step(fails("a", "b"))))

	two := newService(map[string]float64{"a": 200, "b": 200})
	two.decide()
	for range 5 {
		require.Empty(t, out(two.step(fails("a", "b"))), "never one of two")
	}
}
