package runner

import "time"

// Until returns a channel that delivers at t; never for the zero time. Whoever does not wait any more calls stop.
func Until(t time.Time) (at <-chan time.Time, stop func() bool) {
	if t.IsZero() {
		return nil, func() bool { return false }
	}
	return After(time.Until(t))
}

// After returns a channel that delivers after a while. Whoever does not wait any more calls stop.
//
// What is due already gets no timer. Where goroutines of a test's bubble read timers that are due at the same moment, the race
// detector of Go 1.26 writes to one place from several threads and dies of it.
func After(d time.Duration) (at <-chan time.Time, stop func() bool) {
	if d <= 0 {
		now := make(chan time.Time, 1)
		now <- time.Now()
		return now, func() bool { return false }
	}
	timer := time.NewTimer(d)
	return timer.C, timer.Stop
}
