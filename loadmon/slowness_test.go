package loadmon

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSoftLimit(t *testing.T) {
	t.Parallel()
	latency := func(slow, others float64) func(string, *Measured) {
		return func(id string, m *Measured) {
			if m.LatencyMS = others; id == "a" {
				m.LatencyMS = slow
			}
		}
	}
	for _, c := range []struct {
		name         string
		slow, others float64
		busy         float64
		want         float64 // of an equal share, after a minute and a half
	}{
		{"much slower than the others and the limit", 400, 20, 0.6, 0.45},
		{"below the limit", 90, 5, 0.6, 1},
		{"all of them are slow", 400, 350, 0.6, 1},
		{"busy: the capacity's affair", 400, 20, 0.95, 1},
	} {
		s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
		s.rate *= c.busy / 0.6
		s.decide()
		for range 18 {
			s.step(latency(c.slow, c.others))
		}
		require.InDelta(t, c.want, 3*float64(s.decision.Shares["a"])/Whole, 0.1, c.name)
		for range 60 {
			s.step(latency(c.others, c.others))
		}
		require.InDelta(t, 1, 3*float64(s.decision.Shares["a"])/Whole, 0.05, "%s: recovered", c.name)
	}
}

func TestHardLimit(t *testing.T) {
	t.Parallel()
	slow := func(id string, m *Measured) {
		if m.LatencyMS = 20; id == "a" {
			m.LatencyMS = 1500
		}
	}
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200, "d": 200})
	s.rate /= 2
	s.decide()
	s.steps(2)
	for range 2 {
		require.Empty(t, s.step(slow).Ejected)
	}
	require.Equal(t, "3 answers in a row took longer than the hard limit, the last 1500 ms", s.step(slow).Ejected["a"].Reason)

	full := newService(map[string]float64{"a": 200, "b": 200, "c": 200, "d": 200})
	full.rate *= 1.3
	full.decide()
	full.steps(2)
	for range 10 {
		require.Empty(t, full.step(slow).Ejected, "the others have no room for what it does")
	}
}

// What a busy instance is slow by is its capacity's affair: it is ejected only if its weight has not helped within a minute.
func TestHardLimitOfABusyInstance(t *testing.T) {
	t.Parallel()
	queued := func(id string, m *Measured) {
		if m.LatencyMS = 20; id == "a" {
			m.LatencyMS, m.Busy = 1500, 1
		}
	}
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200, "d": 200})
	s.rate /= 2
	s.decide()
	s.steps(2)
	for range manyQueued - 1 {
		require.Empty(t, s.step(queued).Ejected)
	}
	require.Equal(t, "12 answers in a row took longer than the hard limit, the last 1500 ms", s.step(queued).Ejected["a"].Reason)
}
