package loadmon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

func TestFirstDecisionIsTheFile(t *testing.T) {
	t.Parallel()
	_, d := Weights(State{}, Input{Now: noon, Instances: []Candidate{{"a", 3}, {"b", 1}}, Policy: DefaultPolicy()})
	require.True(t, d.Write)
	require.Equal(t, map[string]int{"a": 750_000, "b": 250_000}, d.Shares)
	require.Equal(t, &cluster.Weights{Share: d.Shares}, d.Weights())
}

func TestBlend(t *testing.T) {
	t.Parallel()
	for blend, want := range map[int]float64{-5: 1, 0: 1, 50: 7.0 / 5, 100: 2, 300: 2} {
		s := newService(map[string]float64{"a": 200, "b": 100})
		s.policy.Blend = blend
		s.decide()
		s.steps(60)
		require.InEpsilon(t, want, float64(s.decision.Shares["a"])/float64(s.decision.Shares["b"]), 0.08, "blend %d", blend)
	}
}

// What is told of a slow start is never all of the share before it is.
func TestSlowStartInWords(t *testing.T) {
	t.Parallel()
	in := Input{Instances: []Candidate{{"a", 1}}}
	for age, want := range map[time.Duration]string{
		0: "instance a begins with 10 % of its share", 3 * time.Second: "instance a begins with 10 % of its share", 9 * time.Second: "instance a begins with 30 % of its share",
		slowStart - 1: "instance a begins with 99 % of its share", slowStart: "instance a has all of its share from now on",
	} {
		s, prev := State{tracks: map[string]track{"a": {age: age}}}, State{tracks: map[string]track{"a": {}}}
		require.Equal(t, want, s.starting(prev, in))
	}
	whole := State{tracks: map[string]track{"a": {age: slowStart}}}
	require.Empty(t, whole.starting(whole, in))
}

func TestApportion(t *testing.T) {
	t.Parallel()
	require.Equal(t, []int{333_334, 333_333, 333_333}, apportion([]float64{1, 1, 1}, Whole), "ties go to the first")
	require.Equal(t, []int{999_998, 1, 1}, apportion([]float64{1, 1e-300, 1e-12}, Whole))
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.Float64Range(1e-9, 1e9), 1, 1000).Draw(t, "parts")
		sum, out := 0, apportion(parts, Whole)
		for _, n := range out {
			require.Positive(t, n)
			sum += n
		}
		require.Equal(t, Whole, sum)
	})
}
