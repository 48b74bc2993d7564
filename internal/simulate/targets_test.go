package simulate

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// runs is how many seeds a test that asks for some gets: SEEDS of the environment, for "make balance", or few.
func runs(t *testing.T, few int) []uint64 {
	n, err := few, error(nil)
	if text := os.Getenv("SEEDS"); text != "" {
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	return seeds
}

func TestUnevenSpeeds(t *testing.T) {
	t.Parallel()
	var p99 [3]float64
	worst, seeds := 0.0, runs(t, 3)
	for _, seed := range seeds {
		s := Default()
		s.Seed = seed
		for i, o := range compared(s) {
			p99[i] += o.P99MS / float64(len(seeds))
			if o.Name == string(cluster.BalanceAdaptive) {
				worst = max(worst, o.BusyMaxMean)
			}
		}
	}
	t.Logf("p99 uniform %.1f ms, static %.1f ms, adaptive %.1f ms; busiest by mean at most %.3f", p99[0], p99[1], p99[2], worst)
	require.LessOrEqual(t, p99[2], 0.5*p99[0], "adaptive against uniform")
	require.LessOrEqual(t, p99[2], 1.05*p99[1], "adaptive against the true weights")
	require.LessOrEqual(t, worst, 1.05)
	require.Greater(t, p99[0], 2*p99[1], "the scenario shows no difference at all")
}

func TestNeighbour(t *testing.T) {
	t.Parallel()
	late, over, ideal, worst, seeds := 0.0, 0, 0, 0.0, runs(t, 4)
	for _, seed := range seeds {
		s := Default()
		s.Seed, s.Length = seed, 7*time.Minute
		s.Neighbour = Neighbour{Instance: 1, At: 2 * time.Minute, Leaves: 0.5}
		o := ran(s, cluster.BalanceAdaptive)
		late += o.BusyLate / float64(len(seeds))
		next := o.Spread(s.Neighbour.At+notice, s.Neighbour.At+2*notice)
		if worst = max(worst, next); next > 1.10 {
			over++
		}
		if knowing(s).Spread(s.Neighbour.At+notice, s.Neighbour.At+2*notice) > 1.10 {
			ideal++
		}
	}
	t.Logf("%d seeds, busiest by mean from 30 s after: %.3f; in the 30 s that follow these: above 1.10 in %d, at most %.3f; "+
		"with the true shares from the outset above 1.10 in %d", len(seeds), late, over, worst, ideal)
	require.LessOrEqual(t, late, 1.05)
	require.LessOrEqual(t, over, len(seeds)/100, "30 s hold so few requests that chance alone is some percent")
}

// knowing is what becomes of a scenario where the neighbour has always been there, and the true shares have been written: what is
// left is chance.
func knowing(s Scenario) Outcome {
	rate := s.rate()
	s.Length = s.Neighbour.At + 2*notice
	s.Speeds = slices.Clone(s.Speeds)
	s.Speeds[s.Neighbour.Instance-1] *= s.Neighbour.Leaves
	s.Neighbour = Neighbour{}
	s.Load *= rate / s.rate()
	w, shares := newWorld(s, cluster.BalanceStatic), map[string]int{}
	for i, speed := range s.Speeds {
		shares[id(i)] = int(speed * loadmon.Whole)
	}
	w.balancer = newBalancer(cluster.BalanceAdaptive, s)
	w.balancer.install(&cluster.Weights{Share: shares})
	w.run()
	return Outcome{Points: w.track}
}

func TestKeepAliveSettles(t *testing.T) {
	t.Parallel()
	late, slowest, seeds := 0, time.Duration(0), runs(t, 5)
	for _, seed := range seeds {
		s := Default()
		s.Seed, s.KeepAlive = seed, 30*time.Second
		if at := ran(s, cluster.BalanceAdaptive).Settled(s, 0.10); at > time.Minute {
			late, slowest = late+1, max(slowest, at)
		}
	}
	t.Logf("%d of %d settle later than 60 s, the last after %s", late, len(seeds), slowest)
	require.LessOrEqual(t, late, len(seeds)/100)
}

// What nobody disturbs must not move.
func TestSteadyState(t *testing.T) {
	t.Parallel()
	turns, writes, most, seeds := 0, 0, 0, runs(t, 8)
	for _, seed := range seeds {
		s := Default()
		s.Seed = seed
		o := ran(s, cluster.BalanceAdaptive)
		turns, most, writes = max(turns, o.Turns), max(most, o.Writes), writes+o.Writes
	}
	seconds := Default().Length.Seconds()
	t.Logf("%d seeds: no weight turns more than %d times in 10 minutes; %.4f writes/s, at most %.4f", len(seeds), turns,
		float64(writes)/float64(len(seeds))/seconds, float64(most)/seconds)
	require.LessOrEqual(t, turns, 2)
	require.LessOrEqual(t, float64(most)/seconds, 0.2)
}

// The same with a third of the reports lost, with twenty instances, and with few requests.
func TestOtherConditions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Scenario){
		"lost reports":       func(s *Scenario) { s.Lost = 0.33 },
		"much load":          func(s *Scenario) { s.Load = 0.85 },
		"little load":        func(s *Scenario) { s.Load = 0.2 },
		"two instances":      func(s *Scenario) { s.Speeds = []float64{1, 0.5} },
		"twenty instances":   func(s *Scenario) { s.Speeds, s.Work = twenty(), 20*time.Millisecond },
		"a neighbour leaves": func(s *Scenario) { s.Neighbour = Neighbour{2, 2 * time.Minute, 2 * time.Minute, 0.5} },
	} {
		s := Default()
		change(&s)
		uniform, o := ran(s, cluster.BalanceUniform), ran(s, cluster.BalanceAdaptive)
		t.Logf("%-18s p99 %.1f ms (uniform %.1f), busiest by mean %.3f (%.3f), %d writes, %d turns", name, o.P99MS, uniform.P99MS, o.BusyMaxMean, uniform.BusyMaxMean, o.Writes, o.Turns)
		require.LessOrEqual(t, o.BusyMaxMean, 1.15, name)
		require.LessOrEqual(t, o.P99MS, uniform.P99MS, name)
		require.LessOrEqual(t, o.Writes, 12, name)
	}
}

func twenty() (speeds []float64) {
	for i := range 20 {
		speeds = append(speeds, 1-0.2*float64(i%4))
	}
	return speeds
}
