package loadmon

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFollowsCapacity(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 140, "c": 100})
	s.decide()
	s.steps(2)
	require.True(t, s.decision.Write)
	require.Contains(t, s.decision.Reason, "instance a can take 4")
	require.Equal(t, []string{"a", "b", "c"}, []string{s.decision.Changes[0].Instance, s.decision.Changes[1].Instance, s.decision.Changes[2].Instance})
	require.Equal(t, 333_333, s.decision.Changes[1].From)
	require.InDelta(t, 88, s.decision.Changes[0].Rate, 1)
	require.InDelta(t, 0.88, s.decision.Changes[2].Busy, 0.01)
	s.steps(30)
	for id, want := range map[string]float64{"a": 454_545, "b": 318_182, "c": 227_273} {
		require.InEpsilon(t, want, s.decision.Shares[id], 0.03, id)
	}
	writes := 0
	for range 120 {
		if s.step().Write {
			writes++
		}
	}
	require.LessOrEqual(t, writes, 1, "nothing changes any more")
}

// Of an instance that nobody measures no figures are told: noughts would say that it has nothing to do.
func TestWhatIsNotKnownIsNotTold(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 100})
	s.decide()
	s.steps(2)
	candidates := append(s.candidates(), Candidate{ID: "elsewhere", Weight: 1})
	_, d := Weights(s.state, Input{Service: "a", Now: s.now.Add(Interval), Instances: candidates, Measured: s.loads, Policy: s.policy})
	require.True(t, d.Changes[0].Measured)
	require.Equal(t, Change{Instance: "elsewhere", To: d.Shares["elsewhere"]}, d.Changes[2])
	_, d = Weights(s.state, Input{Service: "a", Now: s.now.Add(fresh), Instances: candidates, Measured: s.loads, Policy: s.policy})
	require.False(t, d.Changes[0].Measured, "what was known is old")
}

// A capacity that halves is answered in a few steps, none of them above a quarter.
func TestFollowsAChange(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
	s.decide()
	s.steps(40)
	before := s.decision.Shares["a"]
	s.capacity["a"] = 100
	s.steps(6)
	require.InEpsilon(t, 200_000, s.decision.Shares["a"], 0.08, "it was %d", before)
}

// Requests that become heavier for everybody are no reason to move anything.
func TestCommonChangeMovesNothing(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 140, "c": 100})
	s.decide()
	s.steps(60)
	for id := range s.capacity {
		s.capacity[id] *= 0.7
	}
	for range 60 {
		require.False(t, s.step().Write, s.decision.Reason)
		for id, track := range s.state.tracks {
			require.GreaterOrEqual(t, track.samples, shortest, "what was known of %s is still true", id)
		}
	}
}

// A full queue confirms a change at once.
func TestFirstReportOfAFullQueueCounts(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200, "c": 200})
	s.decide()
	s.steps(40)
	s.capacity["a"] = 50
	require.True(t, s.step().Write)
	require.InEpsilon(t, 250_000, s.decision.Shares["a"], 0.001)
}

// Half a point is half of a share where there are a hundred.
func TestManyInstances(t *testing.T) {
	t.Parallel()
	capacity := map[string]float64{}
	for i := range 100 {
		capacity[fmt.Sprintf("i%02d", i)] = 200
	}
	capacity["i00"] = 120
	s := newService(capacity)
	s.decide()
	s.steps(60)
	require.InEpsilon(t, 0.6, float64(s.decision.Shares["i00"])/float64(s.decision.Shares["i01"]), 0.05)
}

// Who seems to be able to take nothing still gets a little.
func TestLeast(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 200, "b": 200})
	s.decide()
	s.steps(5)
	dying := s.state.tracks["a"]
	dying.capacity -= 20
	s.state.tracks["a"] = dying
	in := Input{Instances: []Candidate{{"a", 1}, {"b", 1}}}
	for range 50 {
		s.state.move(in)
	}
	require.InEpsilon(t, least, s.state.tracks["a"].weight, 0.02)
}
