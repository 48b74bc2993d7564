package loadmon

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// up is when the monitors of these tests started.
var up = time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)

// wishing runs the law over rounds of reports with the wishes, nil for none.
type wishing struct {
	t       *testing.T
	law     func(State, Input) (State, Decision)
	state   State
	now     time.Time
	policy  Policy
	weights []int
}

func newWishing(t *testing.T, law func(State, Input) (State, Decision), weights ...int) *wishing {
	return &wishing{t: t, law: law, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), policy: Policy{Blend: 100, Wishes: true}, weights: weights}
}

func part(p float64) *float64 { return &p }

// round lets five seconds pass; wishes of instances that stay silent are left out.
func (w *wishing) round(wishes map[int]*float64) Decision {
	w.t.Helper()
	w.now = w.now.Add(Interval)
	in := Input{Service: "a", Now: w.now, Policy: w.policy, Measured: map[string]Measured{}}
	for i, weight := range w.weights {
		id := string(rune('a' + i))
		in.Instances = append(in.Instances, Candidate{ID: id, Weight: weight})
		if wish, says := wishes[i]; says {
			in.Measured[id] = Measured{Node: "n1", At: w.now, Uptime: w.now.Sub(up), Load: Load{Service: "a", Instance: id, Busy: 0.3, Wish: wish}}
		}
	}
	next, d := w.law(w.state, in)
	w.state = next
	return d
}

func shares(d Decision) []float64 {
	out := make([]float64, 0, len(d.Shares))
	for i := range len(d.Shares) {
		out = append(out, float64(d.Shares[string(rune('a'+i))])/Whole)
	}
	return out
}

func requireShares(t *testing.T, want []float64, d Decision) {
	t.Helper()
	require.InDeltaSlice(t, want, shares(d), 0.001, d.Reason)
}

func TestWishesMultiplyTheWeightsOfTheFile(t *testing.T) {
	t.Parallel()
	w := newWishing(t, Wishes, 1, 2, 1)
	d := w.round(map[int]*float64{0: nil, 1: nil, 2: nil})
	requireShares(t, []float64{0.25, 0.5, 0.25}, d)
	d = w.round(map[int]*float64{0: nil, 1: part(0.5), 2: part(1)})
	requireShares(t, []float64{1. / 3, 1. / 3, 1. / 3}, d)
	require.True(t, d.Write)
	require.Equal(t, "instance b wishes 50 % of its weight", d.Reason)
	require.Equal(t, 0.5, d.Changes[1].Wish)
	d = w.round(map[int]*float64{})
	requireShares(t, []float64{1. / 3, 1. / 3, 1. / 3}, d)
	require.False(t, d.Write, "who is silent keeps its wish")
	d = w.round(map[int]*float64{0: part(2), 1: part(0.25)})
	requireShares(t, []float64{2. / 3.5, 0.5 / 3.5, 1. / 3.5}, d)
	d = w.round(map[int]*float64{0: part(0), 1: part(0), 2: part(0)})
	requireShares(t, []float64{0.25, 0.5, 0.25}, d)
	d = w.round(map[int]*float64{0: part(0), 1: part(1), 2: part(1)})
	require.Less(t, shares(d)[0], 0.001, "who wishes nothing has next to nothing")
	require.Positive(t, d.Shares["a"])
}

// Nobody is measured there, so nobody is slow, starts slowly or is ejected.
func TestWishesLeaveTheRestAlone(t *testing.T) {
	t.Parallel()
	w := newWishing(t, Wishes, 1, 1, 1)
	w.round(map[int]*float64{0: nil, 1: nil, 2: nil})
	w.weights = []int{1, 1, 1, 1}
	d := w.round(map[int]*float64{0: nil, 1: nil, 2: nil})
	requireShares(t, []float64{0.25, 0.25, 0.25, 0.25}, d)
	require.Empty(t, d.Ejected)
	next, d := Wishes(State{}, Input{Service: "a", Now: w.now})
	require.Equal(t, "no instance may take traffic", d.Reason)
	require.False(t, d.Write)
	require.Empty(t, next.tracks)
}

// A new leader that hears of nobody yet leaves everything as it is, also what was wished.
func TestANewLeaderKeepsTheWishes(t *testing.T) {
	t.Parallel()
	w := newWishing(t, Wishes, 1, 2, 1)
	before := w.round(map[int]*float64{0: nil, 1: part(0.5), 2: part(0.75)})
	w.state = Resume(before.Weights())
	d := w.round(nil)
	requireShares(t, shares(before), d)
	require.False(t, d.Write)
	d = w.round(map[int]*float64{0: part(1), 1: part(0.5), 2: part(0.75)})
	require.False(t, d.Write)
	d = w.round(map[int]*float64{1: part(1)})
	requireShares(t, []float64{1 / 3.75, 2 / 3.75, 0.75 / 3.75}, d)
}

// Weights that follow the load are multiplied by the wish at once, whatever the law of small steps says.
func TestWishesMultiplyAdaptiveWeights(t *testing.T) {
	t.Parallel()
	for _, blend := range []int{0, 30, 100} {
		w := newWishing(t, Weights, 1, 3)
		w.policy.Blend = blend
		first := w.round(map[int]*float64{0: nil, 1: nil})
		requireShares(t, []float64{0.25, 0.75}, first)
		d := w.round(map[int]*float64{0: nil, 1: part(0.1)})
		requireShares(t, []float64{1 / 1.3, 0.3 / 1.3}, d)
		require.True(t, d.Write)
		require.Equal(t, "instance b wishes 10 % of its weight; the capacity of 0 of 2 instances is known: nothing to compare", d.Reason)

		w.state = Resume(d.Weights()) // a new leader
		d = w.round(map[int]*float64{0: nil, 1: part(0.1)})
		requireShares(t, []float64{1 / 1.3, 0.3 / 1.3}, d)
		require.False(t, d.Write)
		d = w.round(map[int]*float64{0: nil, 1: part(1)})
		requireShares(t, []float64{0.25, 0.75}, d)
	}
	w := newWishing(t, Weights, 1, 1)
	w.policy.Wishes = false // it does not ask for any
	requireShares(t, []float64{0.5, 0.5}, w.round(map[int]*float64{0: nil, 1: part(0.1)}))
}

// Whatever is wished and however it is blended, a new leader begins with the shares that are stored.
func TestANewLeaderBeginsWhereTheLastOneWas(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWishing(t, Weights, 1+r.IntN(5), 1+r.IntN(5), 1+r.IntN(5), 1+r.IntN(5))
		w.policy.Blend = 100 - r.IntN(90)
		wishes := map[int]*float64{}
		for i := range w.weights {
			wishes[i] = part(0.1 + r.Float64())
		}
		w.round(wishes)
		for id, t := range w.state.tracks {
			t.weight *= 0.5 + r.Float64()
			w.state.tracks[id] = t
		}
		w.state.written = nil // so that the next one is worth a write
		before := w.round(wishes)
		require.True(t, before.Write)
		w.state = Resume(before.Weights())
		d := w.round(wishes)
		require.InDeltaSlice(t, shares(before), shares(d), 0.01, "seed %d", seed)
		require.False(t, d.Write, "seed %d", seed)
	}
}

func TestUtilizationReplacesBusy(t *testing.T) {
	t.Parallel()
	m := Measured{Load: Load{Busy: 0.2}}
	require.Equal(t, 0.2, m.busy())
	m.Utilization = part(0.9)
	require.Equal(t, 0.9, m.busy())
	// Both end as many connections, but one says that it is twice as busy: it can take half.
	var s State
	now, opened := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), uint64(0)
	var d Decision
	for range 60 {
		now, opened = now.Add(Interval), opened+500
		in := Input{Service: "a", Now: now, Policy: DefaultPolicy(), Measured: map[string]Measured{}, Instances: []Candidate{{"a", 1}, {"b", 1}}}
		for id, u := range map[string]float64{"a": 0.4, "b": 0.8} {
			in.Measured[id] = Measured{Node: "n1", At: now, Uptime: now.Sub(up), Load: Load{
				Service: "a", Instance: id, Busy: 0.1, Utilization: &u, Connections: opened, Active: 3,
			}}
		}
		s, d = Weights(s, in)
	}
	require.InDeltaSlice(t, []float64{2. / 3, 1. / 3}, shares(d), 0.02)
}
