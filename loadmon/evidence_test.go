package loadmon

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An instance that drowns is asked for as much as before; what it finishes tells.
func TestOverloadShowsInWhatEnds(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
	s.decide()
	open := uint64(3)
	for range 2 {
		s.step(func(id string, m *Measured) {
			if id == "a" {
				opened := s.rate * float64(max(s.decision.Shares["a"], 1)) / Whole * Interval.Seconds()
				open += uint64(max(0, opened-250)) // it ends 50 a second
				m.Busy, m.Active = 1, open
			}
		})
	}
	require.InEpsilon(t, 0.25, math.Exp(s.state.tracks["a"].capacity-s.state.tracks["b"].capacity), 0.05)
}

// What lasting connections ask for while there is a queue is done later, so that only both together are a sample.
func TestPoolWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	p := pool{}
	p.add(window{seconds: 5, active: 120, busy: 1})
	_, ok := p.sample(true, false)
	require.False(t, ok)
	p.add(window{seconds: 5, active: 60, busy: 0.8})
	found, ok := p.sample(true, false)
	require.True(t, ok)
	require.InDelta(t, math.Log(180/1.8), found.x, 1e-9)
	require.False(t, found.atMost)
	for range 4 { // but not for long
		require.Zero(t, p.ended)
		p.add(window{seconds: 5, active: 120, busy: 1})
		found, ok = p.sample(true, false)
	}
	require.True(t, ok)
	require.True(t, found.atMost)
}

// Figures of an instance that has just come say how it starts, not what it can take.
func TestBlackout(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
	s.decide()
	s.steps(30)
	s.capacity["d"] = 200
	for range 2 {
		s.step()
		require.Zero(t, s.state.tracks["d"].samples)
	}
	s.steps(3)
	require.Positive(t, s.state.tracks["d"].samples)
}

func TestFreezes(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 140, "c": 100, "d": 100})
	s.decide()
	only := func(ids ...string) func(string, *Measured) {
		return func(id string, m *Measured) {
			if !slices.Contains(ids, id) {
				*m = Measured{Node: "n1", At: noon.Add(-time.Hour)}
			}
		}
	}
	for range 5 {
		require.False(t, s.step(only("a")).Write)
	}
	require.Equal(t, "frozen: 3 of 4 instances have no fresh figures", s.decision.Reason)
	for range 20 {
		s.step(only("a", "c"))
	}
	require.Equal(t, []int{250_000, 250_000}, []int{s.decision.Shares["b"], s.decision.Shares["d"]}, "without figures they keep their weight")
	require.InEpsilon(t, 2, float64(s.decision.Shares["a"])/float64(s.decision.Shares["c"]), 0.05)
}

func TestInstanceThatStopsTellingKeepsItsWeight(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 100, "b": 100, "c": 100})
	s.policy.Tells = true
	s.decide()
	silent := map[string]bool{}
	tell := func(id string, m *Measured) {
		if !silent[id] {
			m.Utilization = new(m.Busy)
		}
		m.Busy /= 10 // what its node sees is another thing: it waits for a database
	}
	for range 20 {
		s.step(tell)
	}
	silent["a"] = true
	for range 100 {
		s.step(tell)
		require.InDelta(t, Whole/3, s.decision.Shares["a"], Whole/100)
	}
	silent["b"] = true
	s.step(tell)
	require.Equal(t, "frozen: 2 of 3 instances have no fresh figures", s.decision.Reason)
	clear(silent)
	s.capacity["a"] = 50
	for range 60 {
		s.step(tell)
	}
	require.InEpsilon(t, 2, float64(s.decision.Shares["b"])/float64(s.decision.Shares["a"]), 0.1)
}

func TestReportsThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*Measured)
		want string // "" where it is only damped
	}{
		"busy is no number":      {func(m *Measured) { m.Busy = math.NaN() }, "busy NaN is outside 0..1"},
		"busy is negative":       {func(m *Measured) { m.Busy = -1 }, "busy -1 is outside 0..1"},
		"busy is endless":        {func(m *Measured) { m.Busy = 1e308 }, "busy 1e+308 is outside 0..1"},
		"latency is negative":    {func(m *Measured) { m.LatencyMS = -1 }, "a latency of -1 ms cannot be"},
		"latency is no number":   {func(m *Measured) { m.LatencyMS = math.NaN() }, "a latency of NaN ms cannot be"},
		"too many connections":   {func(m *Measured) { m.Connections += 1e15 }, "new connections in 5.0 s are more than an instance can have"},
		"too many open":          {func(m *Measured) { m.Active = 1e18 }, "open connections are more than an instance can have"},
		"uptime overflows":       {func(m *Measured) { m.Uptime = math.MaxInt64 }, "the time since its monitor started cannot be"},
		"from the future":        {func(m *Measured) { m.At = m.At.Add(time.Hour) }, "its figures are 1h0m0s from the future"},
		"counters fell":          {func(m *Measured) { m.Connections = 1 }, "its counters fell although its monitor was not restarted"},
		"old":                    {func(m *Measured) { m.At = m.At.Add(-time.Hour) }, ""},
		"the same again":         {func(m *Measured) { m.Uptime -= Interval }, ""},
		"restarted":              {func(m *Measured) { m.Uptime, m.Connections = time.Second, 1 }, ""},
		"after a long silence":   {func(m *Measured) { m.Uptime += time.Hour }, ""},
		"one wrong but possible": {func(m *Measured) { m.Busy = 0.05 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(map[string]float64{"a": 200, "b": 140, "c": 100})
			s.decide()
			s.steps(60)
			before := s.decision.Shares
			d := s.step(func(id string, m *Measured) {
				if id == "b" {
					c.edit(m)
				}
			})
			require.Equal(t, before, d.Shares, "one bad report moved something")
			if c.want == "" {
				require.Empty(t, d.Problems)
				return
			}
			require.Len(t, d.Problems, 1)
			require.Equal(t, "instance b", d.Problems[0].Field)
			require.Contains(t, d.Problems[0].What, c.want)
			require.NotEmpty(t, d.Problems[0].Fix)
		})
	}
}
