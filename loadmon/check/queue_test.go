package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// A thousand checks at 2 s come evenly, on every node at other times, and again one interval later.
func TestChecksAreSpread(t *testing.T) {
	t.Parallel()
	const n, interval, bins = 1000, 2 * time.Second, 8
	first := map[ID]time.Duration{}
	for _, node := range []string{"n1", "n2"} {
		var q queue
		var count [bins]int
		moments := map[time.Duration]bool{}
		for i := range n {
			s := newSubject(task{id: ID{"a", fmt.Sprintf("10.0.0.%d:80", i)}, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Interval: cluster.Duration(interval)}}, 0)
			q.put(s, node, 0)
			count[s.at*bins/interval]++
			require.Less(t, s.at, interval)
			require.NotEqual(t, first[s.id], s.at)
			first[s.id] = s.at
			moments[s.at] = true
		}
		for _, c := range count {
			require.InDelta(t, n/bins, c, 40, "%v", count)
		}
		require.Len(t, moments, bins, "and each moment wakes the checker once for all that is due")
		for last := time.Duration(0); ; {
			s, at := q.first()
			if s == nil {
				break
			}
			require.GreaterOrEqual(t, at, last)
			q.remove(s)
			last = at
			q.put(s, node, at+time.Millisecond)
			require.Equal(t, at+interval, s.at)
			q.remove(s)
			q.put(s, node, at+5*interval/2) // after a pause those that were missed are left out
			require.Equal(t, at+3*interval, s.at)
			q.remove(s)
		}
	}
}

func TestQueueLeavesOutWhatIsNotRun(t *testing.T) {
	t.Parallel()
	var q queue
	for _, c := range []*cluster.Check{nil, {TTL: &cluster.TTLCheck{}}, {}} {
		q.put(newSubject(task{check: c}, 0), "n1", 0)
	}
	busy := newSubject(task{check: tcp()}, 0)
	q.put(busy, "n1", 0)
	busy.busy = true
	q.put(busy, "n1", 0)
	s, _ := q.first()
	require.Nil(t, s, "one that runs is not planned again")
}
