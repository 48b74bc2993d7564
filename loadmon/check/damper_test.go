package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// flap lets an instance be dead and well in turns, looks every 100 ms, and counts what is told.
func flap(dead, well, whole time.Duration) (changes int, back time.Duration) {
	var d damper
	var told cluster.Verdict
	for now := time.Duration(0); now < whole; now += 100 * time.Millisecond {
		seen := cluster.Verdict("")
		if now%(dead+well) < dead {
			seen = cluster.Dead
		}
		if next := d.settle(seen, now); next != told {
			changes++
			told = next
		}
	}
	for now := whole; ; now += 100 * time.Millisecond { // it stays well
		if d.settle("", now) == "" {
			return changes, now - whole
		}
	}
}

func TestFlappingIsDamped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dead, well   time.Duration
		most, atMost int // changes in an hour
	}{
		{500 * time.Millisecond, 500 * time.Millisecond, 1, 3}, // 1 Hz
		{time.Second, 3 * time.Second, 1, 5},
		{time.Second, 61 * time.Second, 100, 14 + 2*60},
		{time.Second, 5 * time.Minute, 22, 24}, // seldom: all are told
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.dead, " in ", test.dead+test.well), func(t *testing.T) {
			t.Parallel()
			changes, back := flap(test.dead, test.well, time.Hour)
			require.GreaterOrEqual(t, changes, test.most)
			require.LessOrEqual(t, changes, test.atMost)
			require.LessOrEqual(t, back, maxHold, "and it comes back when it stays well")
			t.Logf("%d changes in an hour, back after %s", changes, back)
		})
	}
}

// An ordinary restart is not held up, and after two quiet minutes it is one again.
func TestDamperForgets(t *testing.T) {
	t.Parallel()
	var d damper
	at := time.Duration(0)
	restart := func() (held time.Duration) {
		require.Equal(t, cluster.Dead, d.settle(cluster.Dead, at))
		at += time.Second
		from := at
		for d.settle("", at) != "" {
			at += 10 * time.Millisecond
		}
		return at - from
	}
	require.Zero(t, restart())
	require.Equal(t, 2*time.Second, restart())
	require.Equal(t, 4*time.Second, restart())
	require.Equal(t, 8*time.Second, restart())
	at += 8 * time.Minute
	require.Zero(t, restart())
}

// Whatever is seen: what is worse is told at once, the rest within a minute, and the changes are bounded.
func TestDamperProperties(t *testing.T) {
	t.Parallel()
	verdicts := rapid.SampledFrom([]cluster.Verdict{"", cluster.Failing, cluster.Leaving, cluster.Dead})
	rapid.Check(t, func(t *rapid.T) {
		var d damper
		var told cluster.Verdict
		rises, now := 0, time.Duration(0)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			seen := verdicts.Draw(t, "seen")
			lasts := time.Duration(rapid.SampledFrom([]int{1, 5, 10, 40, 100, 700}).Draw(t, "lasts")) * 100 * time.Millisecond
			for end := now + lasts; now < end; now += 100 * time.Millisecond {
				next := d.settle(seen, now)
				if rank(seen) >= rank(told) && next != seen {
					t.Fatalf("%q is seen, %q is told: what is worse is told at once", seen, next)
				}
				if rank(next) < rank(told) {
					rises++
				}
				told = next
			}
			if lasts > maxHold && told != seen {
				t.Fatalf("%q is seen for %s, and still %q is told", seen, lasts, told)
			}
		}
		// Each rise is one for the better; between two of them at most three falls.
		if most := maxFall + int(now/maxHold)*2; rises > most {
			t.Fatalf("%d rises in %s, want at most %d", rises, now, most)
		}
	})
}
