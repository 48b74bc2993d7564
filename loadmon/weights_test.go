package loadmon

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// service is instances that do what their true capacities let them, and the leader that watches them.
type service struct {
	state    State
	policy   Policy
	now      time.Time
	uptime   time.Duration
	capacity map[string]float64 // connections/s at busy 1
	rate     float64            // connections/s of all
	loads    map[string]Measured
	decision Decision
}

func newService(capacity map[string]float64) *service {
	s := &service{policy: DefaultPolicy(), now: noon, uptime: time.Hour, capacity: capacity, loads: map[string]Measured{}}
	for _, c := range capacity {
		s.rate += 0.6 * c
	}
	return s
}

func (s *service) candidates() (out []Candidate) {
	for id := range s.capacity {
		out = append(out, Candidate{ID: id, Weight: 1})
	}
	return out
}

func (s *service) decide() Decision {
	s.state, s.decision = Weights(s.state, Input{Service: "a", Now: s.now, Instances: s.candidates(), Measured: maps.Clone(s.loads), Policy: s.policy})
	return s.decision
}

// step lets an interval pass; edit may falsify what an instance reports.
func (s *service) step(edit ...func(id string, m *Measured)) Decision {
	s.now, s.uptime = s.now.Add(Interval), s.uptime+Interval
	for id, capacity := range s.capacity {
		share := 1 / float64(len(s.capacity))
		if s.decision.Shares != nil {
			share = float64(s.decision.Shares[id]) / Whole
		}
		m := s.loads[id]
		m.Load.Service, m.Load.Instance, m.Node = "a", id, "n1"
		m.Connections += uint64(math.Round(s.rate * share * Interval.Seconds()))
		m.Busy, m.Active = min(s.rate*share/capacity, 1), 3
		m.At, m.Uptime = s.now, s.uptime
		s.loads[id] = m
	}
	sent := maps.Clone(s.loads)
	for id, m := range sent {
		for _, e := range edit {
			e(id, &m)
		}
		sent[id] = m
	}
	true := s.loads
	s.loads = sent
	d := s.decide()
	s.loads = true
	return d
}

func (s *service) steps(n int) {
	for range n {
		s.step()
	}
}

func total(shares map[string]int) (n int) {
	for _, share := range shares {
		n += share
	}
	return n
}

func TestFirstDecisionIsTheFile(t *testing.T) {
	t.Parallel()
	_, d := Weights(State{}, Input{Now: noon, Instances: []Candidate{{"a", 3}, {"b", 1}}, Policy: DefaultPolicy()})
	require.True(t, d.Write)
	require.Equal(t, map[string]int{"a": 750_000, "b": 250_000}, d.Shares)
	require.Equal(t, &cluster.Weights{Share: d.Shares}, d.Weights())
}

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

func TestBlend(t *testing.T) {
	t.Parallel()
	for blend, want := range map[int]float64{-5: 1, 0: 1, 50: 4.5 / 3, 100: 2, 300: 2} {
		s := newService(map[string]float64{"a": 200, "b": 100})
		s.policy.Blend = blend
		s.decide()
		s.steps(60)
		require.InEpsilon(t, want, float64(s.decision.Shares["a"])/float64(s.decision.Shares["b"]), 0.08, "blend %d", blend)
	}
}

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
