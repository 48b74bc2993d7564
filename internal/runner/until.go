package runner

import "time"

// Until returns a channel that delivers at t; never for the zero time. Whoever does not wait any more calls stop.
func Until(t time.Time) (at <-chan time.Time, stop func() bool) {
	if t.IsZero() {
		return nil, func() bool { return false }
	}
	timer := time.NewTimer(time.Until(t))
	return timer.C, timer.Stop
}
