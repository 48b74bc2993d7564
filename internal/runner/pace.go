package runner

import "time"

// pace decides when the next run may and must begin. It reads no clock.
type pace struct {
	o        Options
	backoff  time.Duration // after the last failure; 0 after a success
	earliest time.Time     // no run before, kicked or not
	paid     time.Time     // up to when the runs so far use up their Min each
	due      time.Time     // run without a kick; zero: never
}

func newPace(o Options, now time.Time) *pace {
	p := &pace{o: o, earliest: now}
	if o.Max > 0 {
		p.due = now.Add(o.Max)
	}
	return p
}

// ran takes note of a run.
//
// Min counts from the start of a run, so that slow runs are not slowed down further; a retry counts from its end, so
// that a run that needs long to fail leaves the same time free for others.
func (p *pace) ran(start, end time.Time, failed bool) {
	p.paid = later(p.paid, start).Add(p.o.Min)
	p.earliest = p.paid.Add(-time.Duration(max(p.o.Burst, 1)-1) * p.o.Min)
	p.due = time.Time{}
	if p.o.Max > 0 {
		p.due = start.Add(p.o.Max)
	}
	if !failed {
		p.backoff = 0
		return
	}
	p.backoff = min(max(2*p.backoff, p.o.RetryMin), p.o.RetryMax)
	p.earliest = later(p.earliest, end.Add(p.o.RetryMin))
	if retry := later(p.earliest, end.Add(p.backoff)); p.due.IsZero() || retry.Before(p.due) {
		p.due = retry
	}
	p.due = later(p.due, p.earliest)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
