package loadmon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// anything draws a figure that a broken or lying monitor could send.
func anything(t *rapid.T, id string, now time.Time) Measured {
	number := rapid.SampledFrom([]float64{0, 0.02, 0.3, 0.97, 1, 1.5, -1, 1e308, math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64})
	count := rapid.SampledFrom([]uint64{0, 1, 5, 100, 5_000, 1e7, 1e15, math.MaxUint64})
	return Measured{
		Load: Load{
			Service: "a", Instance: id, Connections: count.Draw(t, "connections"), Failed: count.Draw(t, "failed"),
			FailedInRow: rapid.SampledFrom([]uint32{0, 1, 5, math.MaxUint32}).Draw(t, "in row"),
			Active:      count.Draw(t, "active"), Busy: number.Draw(t, "busy"), LatencyMS: 1000 * number.Draw(t, "latency"),
		},
		Node: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node"),
		At:   now.Add(rapid.SampledFrom([]time.Duration{0, -Interval, -time.Hour, time.Hour, 4 * time.Second}).Draw(t, "at")),
		Uptime: rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, math.MinInt64, math.MaxInt64}).Draw(t, "start") +
			now.Sub(noon).Abs(),
	}
}

// Whatever is reported, whatever the clock does, whoever comes and goes.
func TestWeightsForEveryHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state, now := State{}, noon
		n := rapid.IntRange(1, 12).Draw(t, "instances")
		before := map[string]float64{}
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			now = now.Add(rapid.SampledFrom([]time.Duration{Interval, Interval, Interval, 0, time.Minute, time.Hour, -time.Hour}).Draw(t, "passes"))
			in := Input{Service: "a", Now: now, Measured: map[string]Measured{}, Policy: DefaultPolicy()}
			for i := range n {
				id := fmt.Sprintf("i%02d", i)
				if rapid.IntRange(0, 20).Draw(t, "there") > 0 {
					in.Instances = append(in.Instances, Candidate{id, rapid.IntRange(0, 1000).Draw(t, "weight")})
				}
				switch rapid.IntRange(0, 3).Draw(t, "reports") {
				case 0:
					in.Measured[id] = anything(t, id, now)
				case 1, 2:
					m := Measured{Load: Load{Service: "a", Instance: id, Busy: 0.5, Active: 2}, Node: "n1", At: now, Uptime: now.Sub(noon).Abs()}
					m.Connections = uint64(m.Uptime/time.Second) * uint64(10*i+10)
					in.Measured[id] = m
				}
			}
			next, d := Weights(state, in)
			shuffled := in
			shuffled.Instances = slices.Clone(in.Instances)
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled.Instances), func(i, j int) {
				shuffled.Instances[i], shuffled.Instances[j] = shuffled.Instances[j], shuffled.Instances[i]
			})
			_, again := Weights(state, shuffled)
			require.Equal(t, d, again, "it depends on the order")
			if len(in.Instances) == 0 {
				state = next
				continue
			}
			require.Len(t, d.Shares, len(in.Instances))
			require.Equal(t, Whole, total(d.Shares))
			for id, share := range d.Shares {
				require.Positive(t, share, id)
			}
			require.LessOrEqual(t, len(d.Ejected), len(in.Instances)/3+len(state.ejections(in)))
			require.Less(t, len(d.Ejected), max(2, len(in.Instances)))
			checkSteps(t, before, next, in)
			before = map[string]float64{}
			for _, c := range in.Instances {
				before[c.ID] = next.tracks[c.ID].weight
			}
			for id, tr := range next.tracks {
				require.False(t, math.IsNaN(tr.weight) || math.IsInf(tr.weight, 0) || tr.weight <= 0, "weight of %s", id)
				require.False(t, math.IsNaN(tr.capacity) || math.IsInf(tr.capacity, 0), "capacity of %s", id)
			}
			state = next
		}
	})
}

// checkSteps compares the instances that are in both rounds: who came or left changes the mean that weights are relative to.
func checkSteps(t *rapid.T, before map[string]float64, next State, in Input) {
	had, has := 0.0, 0.0
	for _, c := range in.Instances {
		if w, ok := before[c.ID]; ok {
			had, has = had+w, has+next.tracks[c.ID].weight
		}
	}
	if had == 0 || len(before) != len(in.Instances) {
		return
	}
	for _, c := range in.Instances {
		if w, ok := before[c.ID]; ok && math.Abs(has-had) < 1e-9*had {
			moved := next.tracks[c.ID].weight / w
			require.InDelta(t, 1, moved, step+1e-9, "weight of %s moved by more than a step", c.ID)
		}
	}
}
