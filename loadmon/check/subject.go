package check

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// subject is one instance with all that is known of it.
type subject struct {
	task
	rung   rung
	damper damper
	health cluster.Health // what is told; without a verdict: well

	latencies []latency
	made      uint64
	failed    uint64
	inRow     uint32

	at    time.Duration // of its next check
	index int           // in the queue; -1: not there
	busy  bool          // a check runs
}

type latency struct {
	at   time.Duration
	took time.Duration
}

func newSubject(t task, now time.Duration) *subject {
	return &subject{task: t, index: -1, at: now}
}

func grace(t task) time.Duration {
	if t.check == nil {
		return 0
	}
	return time.Duration(t.check.Grace)
}

// restore takes up what was said before the monitor's start.
func (s *subject) restore(h cluster.Health) {
	if s.check == nil && !s.own {
		return
	}
	s.health = h
	s.damper.told = h.Verdict
	s.rung.verdict, s.rung.why = h.Verdict, Outcome{Reason: h.Reason, Output: h.Output}
}

// retask goes on with the same instance under another check or address.
func (s *subject) retask(t task) {
	if !s.task.same(t) {
		s.rung.good, s.rung.bad, s.latencies = 0, 0, nil
		if t.check == nil {
			s.rung.verdict = "" // nobody would ever find it well again
		}
	}
	s.task = t
}

// see takes up an outcome of its check.
func (s *subject) see(o Outcome, now time.Duration) {
	if s.check == nil {
		return
	}
	switch o.Kind {
	case Good:
		s.inRow = 0
		s.latencies = append(s.latencies, latency{now, o.Took})
		s.recent(now)
	case Bad, Refused:
		s.failed++
		s.inRow++
	}
	if o.Kind != Unknown {
		s.made++
	}
	s.rung.step(s.check, o, now)
}

// settle decides what is told, and says what was told before and what is now. Reason and output are those of the time when
// the verdict was reached: what is told changes with the verdict only.
func (s *subject) settle(now time.Duration, clock time.Time) (before, after cluster.Verdict) {
	before = s.health.Verdict
	after = s.damper.settle(s.rung.verdict, now)
	switch {
	case after == "":
		s.health = cluster.Health{}
	case after != before:
		s.health = cluster.Health{Verdict: after, Reason: s.rung.why.Reason, Output: s.rung.why.Output, Since: clock.Round(0).UTC().Truncate(time.Millisecond)}
	}
	return before, after
}

// latencyWindow is over how long latencies are averaged: the interval of load reports.
const (
	latencyWindow = 5 * time.Second
	maxLatencies  = 32
)

// recent drops latencies that are old, but for the last one of a slow check.
func (s *subject) recent(now time.Duration) {
	window := latencyWindow
	if s.check != nil {
		window = max(window, 2*time.Duration(s.check.Interval))
	}
	for len(s.latencies) > 0 && (now-s.latencies[0].at > window || len(s.latencies) > maxLatencies) {
		s.latencies = s.latencies[1:]
	}
}

func (s *subject) result(now time.Duration) Result {
	s.recent(now)
	r := Result{Connections: s.made, Failed: s.failed, FailedInRow: s.inRow}
	if len(s.latencies) == 0 {
		return r
	}
	var sum time.Duration
	for _, l := range s.latencies {
		sum += l.took
	}
	r.LatencyMS = float64(sum) / float64(len(s.latencies)) / float64(time.Millisecond)
	return r
}
