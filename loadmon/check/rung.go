package check

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// rung is what the outcomes of one instance's checks amount to. It is a value without a clock: times are durations since
// some start.
//
//	outcome   well                            failing                       dead
//	Good      -                               well after rise in a row      well after rise in a row
//	Bad       failing after fall in a row     -                             failing after fall in a row
//	Refused   dead at once                    dead at once                  -
//	Unknown   -                               -                             -
//
// Until a new instance's first success, failures do not count while its grace lasts.
type rung struct {
	verdict   cluster.Verdict // "": well
	why       Outcome         // that led to the verdict
	good, bad int             // in a row
	first     Outcome         // of the failures in a row
	began     time.Duration   // when it was seen
	started   bool            // there was a success
	grace     time.Duration   // until when
}

func (r *rung) step(c *cluster.Check, o Outcome, now time.Duration) {
	switch o.Kind {
	case Good:
		r.started, r.bad = true, 0
		if r.good++; r.verdict != "" && r.good >= c.Rise {
			r.verdict, r.why = "", Outcome{}
		}
	case Bad, Refused:
		if !r.started && now < r.grace {
			return
		}
		r.good = 0
		r.count(o, now)
		switch {
		case o.Kind == Refused && r.verdict != cluster.Dead:
			r.verdict, r.why, r.bad = cluster.Dead, o, 0
		case o.Kind == Refused:
			r.bad = 0 // only what answers badly may become failing
		case r.bad >= c.Fall && r.verdict != cluster.Failing:
			r.verdict, r.why = cluster.Failing, o
		}
	}
}

// count takes note of a failure.
func (r *rung) count(o Outcome, now time.Duration) {
	if r.bad++; r.bad == 1 {
		r.first, r.began = o, now
	}
}

// suspect says whether its check failed of late, but not often enough for a verdict.
func (r *rung) suspect() bool { return r.verdict == "" && r.bad > 0 }
