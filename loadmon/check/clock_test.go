package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/jump"
)

// A wall clock that is set an hour ahead or back makes no silence, no pause and no end of a hold.
func TestJumpsOfTheClock(t *testing.T) {
	t.Parallel()
	for _, hours := range []int{1, -1} {
		c := New(Options{Node: "n1"})
		c.Want(world(reporting(30 * time.Second)).Snapshot(1))
		c.start = jump.Wall(c.start, -hours) // as if the clock had been set since
		require.Less(t, c.now(), time.Minute)
		require.GreaterOrEqual(t, c.now(), time.Duration(0))
		s := c.subjects[mine]
		s.listen(c.now())
		c.tell(s)
		require.Empty(t, c.Health())
	}
}

// Since when an instance fails, and when that began, are of one clock, whatever happened to it between.
func TestWhatIsToldAfterAJumpOfTheClock(t *testing.T) {
	t.Parallel()
	s := newSubject(task{id: mine, own: true, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Rise: 2, Fall: 2}}, 0)
	clock := time.Now()
	s.see(Outcome{Kind: Bad, Reason: "no answer"}, time.Second)
	s.settle(time.Second, clock)
	s.see(Outcome{Kind: Bad, Reason: "no answer"}, 2*time.Second)
	before, after := s.settle(2*time.Second, jump.Wall(clock, 1))
	require.Equal(t, []cluster.Verdict{cluster.Suspect, cluster.Failing}, []cluster.Verdict{before, after})
	require.Equal(t, time.Second, s.health.Since.Sub(s.health.Began), "both are of one clock")
}
