package check

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// damper bounds how often what is told of an instance changes, however fast the instance does. What is worse is told at
// once. What is better is told when it has held: at once after the first fall, and after the k-th one that is remembered in
// 2^(k-1) seconds, at most a minute. A fall is forgotten for every two minutes of being well.
//
// So an instance that flaps falls and rises at most seven times while that grows, and then at most once a minute. A fall may
// come in steps, from failing to dead; a rise too.
type damper struct {
	told   cluster.Verdict // "": well
	falls  int             // that are remembered
	rose   bool            // the last change was for the better
	better time.Duration   // since when what is seen is better than what is told; 0: it is not
	well   time.Duration   // since when falls are forgotten
}

const (
	maxHold = time.Minute
	forget  = 2 * time.Minute
	maxFall = 7 // its hold is a minute
)

// rank orders verdicts: a higher one is worse.
func rank(v cluster.Verdict) int {
	switch v {
	case "":
		return 0
	case cluster.Failing:
		return 1
	case cluster.Leaving:
		return 2
	}
	return 3
}

// hold is how long something better must last.
func (d *damper) hold() time.Duration {
	if d.falls <= 1 {
		return 0
	}
	return min(maxHold, time.Second<<(d.falls-1))
}

// settle says what is to be told of what is seen now. It is to be called again while the two differ.
func (d *damper) settle(seen cluster.Verdict, now time.Duration) cluster.Verdict {
	for d.told == "" && d.falls > 0 && now-d.well >= forget {
		d.falls, d.well = d.falls-1, d.well+forget
	}
	switch {
	case rank(seen) > rank(d.told):
		if d.told == "" || d.rose {
			d.falls = min(d.falls+1, maxFall)
		}
		d.told, d.better, d.rose = seen, 0, false
	case rank(seen) == rank(d.told):
		d.better = 0
	case d.better == 0 && d.hold() > 0:
		d.better = max(now, 1)
	case now-d.better >= d.hold():
		d.told, d.better, d.well, d.rose = seen, 0, now, true
	}
	return d.told
}
