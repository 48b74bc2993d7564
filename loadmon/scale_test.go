package loadmon

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// alike are n ready instances with the same figures.
func alike(n int, f Figures) (ready []string, figures map[string]Figures) {
	figures = map[string]Figures{}
	for i := range n {
		id := fmt.Sprintf("i%02d", i)
		ready, figures[id] = append(ready, id), f
	}
	return ready, figures
}

func busy(u float64) Figures { return Figures{Busy: u, Rate: 1, Active: 1, Utilization: math.NaN()} }

func TestScaleOnce(t *testing.T) {
	t.Parallel()
	three := 3
	policy := ScalePolicy{Min: 2, Max: 12, Targets: []Target{{ByBusy, 0.6}}}
	tests := []struct {
		name   string
		change func(*ScaleInput)
		want   int
		says   string
	}{
		{"at its target", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(0.6)) }, 4, "busy: 4 instances come to 2.4, the target for each is 0.6"},
		{"within a tenth", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(0.65)) }, 4, "come to 2.6"},
		{"beyond", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(0.7)) }, 5, "come to 2.8"},
		{"far beyond: at most twice as many", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(6, busy(1))
			in.Desired, in.Policy.Max, in.Policy.Targets[0].Value = 6, 100, 0.1
		}, 12, "at most 12 within 15s"},
		{"a few: at most four more", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(2, busy(1))
			in.Desired, in.Policy.Targets[0].Value = 2, 0.1
		}, 6, "at most 6 within 15s"},
		{"never above max", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(1)); in.Policy.Max = 5 }, 5, "kept within 2..5"},
		{"fewer only after the window", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(0.1)) }, 4, "within 5m0s, so they stay"},
		{"below min", func(in *ScaleInput) { in.Desired = 1 }, 2, "there must be 2..12"},
		{"above max", func(in *ScaleInput) { in.Desired = 20 }, 12, "there must be 2..12"},
		{"nobody is heard of", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(1)); in.Figures = nil }, 4, "no ready instance has fresh figures"},
		{"those that are not heard of count as idle where more is wished", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(4, busy(0.9))
			delete(in.Figures, "i00")
		}, 5, "3 instances come to 2.7, the target for each is 0.6, 1 are not heard of"},
		{"a figure that cannot be counts as missing", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(4, busy(0.9))
			in.Figures["i00"] = busy(math.Inf(1))
			in.Figures["i01"] = busy(math.NaN())
		}, 4, "2 are not heard of"},
		{"of several metrics the one that wants most", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(4, Figures{Busy: 0.6, Active: 30, Utilization: math.NaN()})
			in.Policy.Targets = append(in.Policy.Targets, Target{ByConnections, 20}, Target{ByUtilization, 0.5})
		}, 6, "connections: 4 instances come to 120, the target for each is 20"},
		{"the application's own", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(4, Figures{Busy: 0.1, Utilization: 0.9})
			in.Policy.Targets = append(in.Policy.Targets, Target{ByUtilization, 0.6})
		}, 6, "utilization: 4 instances come to 3.6"},
		{"an instance asks", func(in *ScaleInput) {
			in.Ready, in.Figures = alike(4, busy(0.5))
			in.Asks = []Ask{{By: "instance i00", Want: 5}, {By: "instance i01", Want: 3}}
		}, 5, "instance i00 asks for 5"},
		{"an operator wins", func(in *ScaleInput) { in.Ready, in.Figures = alike(4, busy(1)); in.Pinned = &three }, 3, "an operator wants 3"},
		{"no target", func(in *ScaleInput) { in.Policy.Targets = nil }, 4, "the service has no target"},
		{"somebody connects", func(in *ScaleInput) { in.Policy.Min, in.Desired, in.Wake = 0, 0, true }, 1, "somebody connects"},
		{"nobody connects", func(in *ScaleInput) { in.Policy.Min, in.Desired = 0, 0 }, 0, "nobody has connected"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in := ScaleInput{Now: noon, Desired: 4, Policy: policy}
			in.Policy.Targets = slices.Clone(policy.Targets)
			test.change(&in)
			_, d := Scale(ScaleState{}, in)
			require.Equal(t, test.want, d.Want, d.Reason)
			require.Contains(t, d.Reason, test.says)
		})
	}
}

func TestScalePolicyOf(t *testing.T) {
	t.Parallel()
	p := ScalePolicyOf(&cluster.Scale{Min: 1, Max: 4, Metrics: []cluster.ScaleMetric{{Metric: "busy", Target: 0.6}, {Metric: "rate", Target: -1}}, Window: cluster.Duration(time.Minute)})
	require.Equal(t, ScalePolicy{Min: 1, Max: 4, Targets: []Target{{ByBusy, 0.6}}, Window: time.Minute, Idle: 10 * time.Minute}, p)
}

// scaled is a service whose decisions are carried out at once.
type scaled struct {
	state   ScaleState
	now     time.Time
	desired int
	policy  ScalePolicy
	last    ScaleDecision
}

func (s *scaled) step(change func(*ScaleInput), f func(n int) Figures) int {
	s.now = s.now.Add(Interval)
	in := ScaleInput{Now: s.now, Desired: s.desired, Policy: s.policy}
	in.Ready, in.Figures = alike(s.desired, f(s.desired))
	if change != nil {
		change(&in)
	}
	s.state, s.last = Scale(s.state, in)
	s.desired = s.last.Want
	return s.desired
}

// TestScaleUpInTime has the load triple at once.
func TestScaleUpInTime(t *testing.T) {
	t.Parallel()
	reach := func(s *scaled, want int, f func(int) Figures) (took time.Duration) {
		for s.desired < want {
			s.step(nil, f)
			took += Interval
			require.Less(t, took, 5*time.Minute, "stuck at %d: %s", s.desired, s.last.Reason)
		}
		require.Equal(t, want, s.desired)
		return took
	}
	connections := func(sum float64) func(int) Figures {
		return func(n int) Figures { return Figures{Active: sum / float64(n), Utilization: math.NaN()} }
	}
	policy := ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByConnections, 100}}}
	require.LessOrEqual(t, reach(&scaled{now: noon, desired: 2, policy: policy}, 6, connections(600)), 10*time.Second)
	require.LessOrEqual(t, reach(&scaled{now: noon, desired: 4, policy: policy}, 12, connections(1200)), 25*time.Second)

	// By busy alone, which ends at 1: 4 instances at their target of 0.6 take 400/s.
	s := &scaled{now: noon, desired: 4, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByBusy, 0.6}}}}
	offered := func(rate float64) func(int) Figures {
		return func(n int) Figures {
			return Figures{Rate: rate / float64(n), Busy: min(rate/float64(n)/(100/0.6), 1), Active: 1, Utilization: math.NaN()}
		}
	}
	for range 10 {
		require.Equal(t, 4, s.step(nil, offered(400)))
	}
	s.step(nil, offered(1200))
	require.Equal(t, 12, s.last.Wish, "what one connection costs was seen before: %s", s.last.Reason)
	require.LessOrEqual(t, reach(s, 12, offered(1200)), time.Minute-Interval)
	for range 20 {
		require.Equal(t, 12, s.step(nil, offered(1200)), s.last.Reason)
	}
}

// TestScaleSaysWhenMoreIsPermitted, so that nobody has to wait for the next report after that.
func TestScaleSaysWhenMoreIsPermitted(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 4, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByConnections, 100}}}}
	load := func(n int) Figures { return Figures{Active: 1200 / float64(n), Utilization: math.NaN()} }
	require.Equal(t, 8, s.step(nil, load))
	require.Equal(t, period, s.last.Again)
	require.Equal(t, 8, s.step(nil, load))
	require.Equal(t, period-Interval, s.last.Again)
	s.now = s.now.Add(period - 2*Interval) // and step adds one
	require.Equal(t, 12, s.step(nil, load))
	require.Zero(t, s.last.Again)
}

// TestScaleLearnsNothingOfLongConnections, whose number a second says nothing of the work.
func TestScaleLearnsNothingOfLongConnections(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 4, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByBusy, 0.6}}}}
	for range 5 {
		s.step(nil, func(int) Figures { return Figures{Rate: 1, Active: 100, Busy: 0.6, Utilization: math.NaN()} })
	}
	s.step(nil, func(int) Figures { return Figures{Rate: 10, Active: 130, Busy: 0.9, Utilization: math.NaN()} })
	require.Equal(t, 6, s.last.Wish, s.last.Reason)
}

func TestScaleDownAfterTheWindow(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 20, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByBusy, 0.6}}}}
	s.step(nil, func(int) Figures { return busy(0.56) })
	require.Equal(t, 20, s.last.Wish, "19 would do, but that is within the tolerance")
	s = &scaled{now: noon, desired: 12, policy: s.policy}
	for range 3 {
		s.step(nil, func(int) Figures { return busy(0.6) })
	}
	quiet := func(int) Figures { return busy(0.05) }
	for took := Interval; took < 5*time.Minute; took += Interval {
		require.Equal(t, 12, s.step(nil, quiet))
	}
	for range 3 {
		s.step(nil, quiet)
	}
	require.Equal(t, 2, s.desired, s.last.Reason)
}

// TestScaleDownNotByANewLeader, who does not know what was wished before.
func TestScaleDownNotByANewLeader(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 12, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByBusy, 0.6}}}}
	for range 200 {
		s.state = ScaleState{}
		require.Equal(t, 12, s.step(nil, func(int) Figures { return busy(0.05) }))
	}
}

func TestScaleToNone(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 1, policy: ScalePolicy{Min: 0, Max: 5, Targets: []Target{{ByBusy, 0.6}}}}
	none := func(int) Figures { return Figures{Busy: 0.02, Utilization: math.NaN()} }
	unheard := func(in *ScaleInput) { in.Figures = nil }
	for range 10 * 60 / 5 {
		require.Equal(t, 1, s.step(unheard, none), "silence is not idleness")
	}
	for range 10*60/5 - 1 {
		require.Equal(t, 1, s.step(nil, none))
	}
	s.step(nil, none)
	require.Equal(t, 0, s.step(nil, none), s.last.Reason)
	require.Equal(t, 0, s.step(nil, none))
	require.Equal(t, 1, s.step(func(in *ScaleInput) { in.Wake = true }, none))
	starting := func(in *ScaleInput) { in.Ready, in.Figures = nil, nil }
	for range 2 * 10 * 60 / 5 {
		require.Equal(t, 1, s.step(starting, none), "who woke it waits for the first one")
	}
	s.policy.Min = 1
	for range 2 * 10 * 60 / 5 {
		require.Equal(t, 1, s.step(nil, none), "a min of 1 is kept")
	}
}

func TestScaleIgnoresJumpsOfTheClock(t *testing.T) {
	t.Parallel()
	s := &scaled{now: noon, desired: 12, policy: ScalePolicy{Min: 2, Max: 50, Targets: []Target{{ByBusy, 0.6}}}}
	s.step(nil, func(int) Figures { return busy(0.6) })
	for i := range 30 { // half of them count for 15 s: 225 s in all; the others do not go back
		s.now = s.now.Add(time.Duration(2-3*(i%2)) * time.Hour)
		require.Equal(t, 12, s.step(nil, func(int) Figures { return busy(0.05) }))
	}
	for range 6 {
		s.now = s.now.Add(time.Hour)
		s.step(nil, func(int) Figures { return busy(0.05) })
	}
	require.Equal(t, 2, s.desired)
}

// TestScaleProperties for histories of any kind.
func TestScaleProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &scaled{now: noon, desired: rapid.IntRange(1, 40).Draw(t, "desired")}
		s.policy = ScalePolicy{Min: rapid.IntRange(0, 5).Draw(t, "min"), Targets: []Target{{ByBusy, 0.6}, {ByConnections, 50}}, Window: 30 * time.Second, Idle: 40 * time.Second}
		s.policy.Max = s.policy.Min + rapid.IntRange(1, 60).Draw(t, "max")
		history, wishes := []int{}, []int{}
		for range 40 {
			before := s.state
			figures := Figures{Busy: rapid.Float64Range(0, 1).Draw(t, "busy"), Active: rapid.Float64Range(0, 200).Draw(t, "active"), Rate: rapid.Float64Range(0, 100).Draw(t, "rate"), Utilization: math.NaN()}
			missing := rapid.IntRange(0, 3).Draw(t, "missing")
			was := s.desired
			var asked ScaleInput
			s.step(func(in *ScaleInput) {
				for i := range min(missing, len(in.Ready)) {
					delete(in.Figures, in.Ready[i])
				}
				asked = *in
			}, func(int) Figures { return figures })
			history, wishes = append(history, s.desired), append(wishes, s.last.Wish)
			require.NotEmpty(t, s.last.Reason)
			if was >= s.policy.Min && was <= s.policy.Max {
				require.True(t, s.desired >= s.policy.Min && s.desired <= s.policy.Max, "%d: %s", s.desired, s.last.Reason)
			}
			if n := len(history); n > 3 && history[n-4] >= s.policy.Min {
				require.LessOrEqual(t, s.desired, max(2*history[n-4], history[n-4]+stepUp), "in 15 s: %v", history)
			}
			if s.desired < was && s.last.By != "limits" && s.last.By != "idle" {
				recent := wishes[max(0, len(wishes)-6):]
				require.GreaterOrEqual(t, s.desired, slices.Max(recent), "taken away although wished for within the window")
			}
			again := asked
			slices.Reverse(again.Ready)
			state, decision := Scale(before, again)
			require.Equal(t, s.last, decision, "the order of the instances must not matter, and the state is a value")
			require.Equal(t, s.state, state)
		}
	})
}

// TestScaleMissingFiguresNeverMoveItFurther than the true ones would.
func TestScaleMissingFiguresNeverMoveItFurther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(t, "n")
		in := ScaleInput{Now: noon, Desired: n, Policy: ScalePolicy{Min: 1, Max: 100, Targets: []Target{{ByConnections, 50}}}}
		in.Ready, in.Figures = alike(n, Figures{})
		load := rapid.Float64Range(0, 200).Draw(t, "load")
		for _, id := range in.Ready {
			in.Figures[id] = Figures{Active: load}
		}
		_, full := Scale(ScaleState{}, in)
		lost := rapid.IntRange(0, n).Draw(t, "lost")
		for i := range lost {
			delete(in.Figures, in.Ready[i])
		}
		_, part := Scale(ScaleState{}, in)
		if full.Wish >= n {
			require.True(t, part.Wish >= n && part.Wish <= full.Wish || part.Wish == n, "%d of %d without %d, with all of them %d", part.Wish, n, lost, full.Wish)
		} else {
			require.True(t, part.Wish >= full.Wish && part.Wish <= n, "%d of %d without %d, with all of them %d", part.Wish, n, lost, full.Wish)
		}
	})
}

func TestVictims(t *testing.T) {
	t.Parallel()
	members := []Member{
		{ID: "old", Ready: true, Connections: 900, Age: time.Hour},
		{ID: "idle", Ready: true, Current: true, Connections: 1, Age: time.Hour},
		{ID: "starting", Current: true, Connections: 0, Age: time.Second},
		{ID: "young", Ready: true, Current: true, Connections: 7, Age: time.Minute},
		{ID: "elder", Ready: true, Current: true, Connections: 7, Age: time.Hour},
	}
	require.Equal(t, []string{"starting", "old", "idle", "young", "elder"}, Victims(members, 9))
	require.Equal(t, []string{"starting", "old"}, Victims(members, 2))
	require.Empty(t, Victims(members, -1))
	require.Equal(t, "old", members[0].ID, "what was handed in stays as it was")
}

func TestFiguresAreThoseThatAreFresh(t *testing.T) {
	t.Parallel()
	s := newService(map[string]float64{"a": 100, "b": 100, "c": 100})
	s.step()
	require.Empty(t, s.state.Figures(), "the first report is what is counted from")
	s.step()
	f := s.state.Figures()
	require.Len(t, f, 3)
	require.InDelta(t, 60, f["a"].Rate, 1)
	require.InDelta(t, 0.6, f["a"].Busy, 0.01)
	require.InDelta(t, 3, f["a"].Active, 0.01)
	require.True(t, math.IsNaN(f["a"].Utilization))
	for range 3 {
		s.step(func(id string, m *Measured) {
			if id == "b" {
				m.At = m.At.Add(-time.Minute)
			}
		})
	}
	require.NotContains(t, s.state.Figures(), "b")
	delete(s.capacity, "c")
	s.step()
	require.NotContains(t, s.state.Figures(), "c")
}
