package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// A row of failures is told of at its first, with its reason and since when; the verdict that it leads to says when it began.
func TestASuspectIsTold(t *testing.T) {
	t.Parallel()
	s := newSubject(task{id: mine, own: true, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Rise: 2, Fall: 3}}, 0)
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	see := func(at time.Duration, kind Kind, reason string) cluster.Health {
		s.see(Outcome{Kind: kind, Reason: reason}, at)
		s.settle(at, clock.Add(at))
		return s.health
	}
	second := func(n int) time.Time { return clock.Add(time.Duration(n) * time.Second) }
	require.Empty(t, see(0, Good, ""))
	want := cluster.Health{Verdict: cluster.Suspect, Reason: "no answer", Since: second(2)}
	require.Equal(t, want, see(2*time.Second, Bad, "no answer"))
	require.Equal(t, want, see(4*time.Second, Bad, "reset"), "the same row")
	require.Equal(t, cluster.Health{Verdict: cluster.Failing, Reason: "status 500", Since: second(6), Began: second(2)}, see(6*time.Second, Bad, "status 500"))
	see(8*time.Second, Good, "")
	require.Empty(t, see(10*time.Second, Good, ""))
	require.Equal(t, second(12), see(12*time.Second, Bad, "x").Since, "this one was right before")
	require.Empty(t, see(14*time.Second, Good, ""))
	require.Empty(t, see(15*time.Second, Bad, "x"), "it was wrong a second ago")
	require.Equal(t, second(15), see(17*time.Second, Bad, "x").Since, "and is told when its time has come, of the whole row")
	require.Equal(t, cluster.Dead, see(18*time.Second, Refused, "refused").Verdict)
}

// One failure in a row is enough for a verdict: nobody is suspect before.
func TestNobodyIsSuspectWhereOneFailureDecides(t *testing.T) {
	t.Parallel()
	s := newSubject(task{id: mine, own: true, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Rise: 1, Fall: 1}}, 0)
	s.see(Outcome{Kind: Bad}, 0)
	_, after := s.settle(0, time.Now())
	require.Equal(t, cluster.Failing, after)
}

// Whatever the checks show, what is told of an instance changes a bounded number of times: each rise and each alarm that came
// to nothing is held back, and what is between two of them are at most three steps down.
func TestWhatIsToldIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster.Check{TCP: &cluster.TCPCheck{}, Rise: rapid.IntRange(1, 3).Draw(t, "rise"), Fall: rapid.IntRange(1, 4).Draw(t, "fall")}
		s := newSubject(task{id: mine, own: true, check: c}, 0)
		now, changes := time.Duration(0), 0
		kinds := rapid.SliceOfN(rapid.SampledFrom([]Kind{Unknown, Good, Good, Bad, Bad, Refused}), 1, 40).Draw(t, "outcomes")
		for range 600 { // again and again: two minutes and more
			for _, kind := range kinds {
				s.see(Outcome{Kind: kind, Reason: "x"}, now)
				if before, after := s.settle(now, time.Now()); before != after {
					changes++
				}
				now += 200 * time.Millisecond
			}
		}
		minutes := int(now/maxHold) + 1
		if most := 6*(maxFall+2*minutes) + 2*(maxFall+2*minutes); changes > most {
			t.Fatalf("%d changes in %s, want at most %d", changes, now, most)
		}
	})
}

// An instance whose every second check fails is told of less and less.
func TestAlarmsThatComeToNothing(t *testing.T) {
	t.Parallel()
	s := newSubject(task{id: mine, own: true, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Rise: 2, Fall: 3}}, 0)
	changes := 0
	for i := range 18_000 { // an hour
		now := time.Duration(i) * 200 * time.Millisecond
		s.see(Outcome{Kind: []Kind{Good, Bad}[i%2]}, now)
		if before, after := s.settle(now, time.Now()); before != after {
			changes++
		}
	}
	require.LessOrEqual(t, changes, 2*(maxFall+60))
	require.GreaterOrEqual(t, changes, 2*60)
	s.alarm.settle(false, false, time.Hour+20*time.Minute)
	require.Zero(t, s.alarm.alarms, "forgotten")
}
