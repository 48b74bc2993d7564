package monitor

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// After an outage of etcd every monitor has verdicts to tell that it would have announced as suspicions, and the first one to
// get through would be believed before the others are heard of. So what etcd does not know yet is told as suspicion first, and
// as verdict when the others have had time for theirs.
const (
	outageFrom  = time.Second                  // a write that took longer was one
	outageQuiet = verdictRetry + 1*time.Second // from the first write after it until verdicts are told
)

// outage is what a monitor knows of one. The zero value knows of none.
type outage struct {
	lasts bool
	until time.Time          // suspicions are told in place of verdicts
	known cluster.NodeHealth // what etcd last took
}

// soften gives what is to be told now, and whether that is less than what is known. Verdicts of which nobody knows when they
// began, as an instance's own word, stay.
func (o *outage) soften(health cluster.NodeHealth, now time.Time) (out cluster.NodeHealth, less bool) {
	if !o.lasts && !now.Before(o.until) {
		return health, false
	}
	out = cluster.NodeHealth{}
	for service, instances := range health {
		out[service] = map[string]cluster.Health{}
		for id, h := range instances {
			if h.Verdict == cluster.Failing && !h.Began.IsZero() && o.known[service][id].Verdict != cluster.Failing {
				h.Verdict, h.Since, h.Began, less = cluster.Suspect, h.Began, time.Time{}, true
			}
			out[service][id] = h
		}
	}
	return out, less
}

// wrote takes note of a write.
func (o *outage) wrote(health cluster.NodeHealth, err error, took time.Duration, now time.Time) {
	if err != nil {
		o.lasts = true
		return
	}
	if o.known = health; o.lasts || took > outageFrom {
		o.lasts, o.until = false, now.Add(outageQuiet)
	}
}
