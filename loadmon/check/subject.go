package check

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// subject is one instance with all that is known of it.
type subject struct {
	task
	rung    rung
	kernel  kernel
	said    said
	judged  bool // something was seen of it, or heard
	wasDead bool // its process ended, as far as was seen
	damper  damper
	alarm   suspicion
	health  cluster.Health // what is told; without a verdict: well

	latencies []latency
	made      uint64
	connected uint64 // of these
	failed    uint64
	inRow     uint32
	unknown   string // why its check could not be made the last time, several times in a row
	unknowns  int

	at    time.Duration // of its next check
	index int           // in the queue; -1: not there
	busy  bool          // a check runs
}

type latency struct {
	at   time.Duration
	took time.Duration
}

func newSubject(t task, now time.Duration) *subject {
	return &subject{task: t, index: -1, said: said{ok: now}}
}

func grace(t task) time.Duration {
	if t.check == nil {
		return 0
	}
	return time.Duration(t.check.Grace)
}

// restore takes up what was said before the monitor's start, unless more is known by now: the first snapshot may have been an
// old one, of the file. Each source goes on from its own part of it.
func (s *subject) restore(h cluster.Health, told bool) {
	if !told || s.judged || s.health.Verdict != "" || h.Verdict == cluster.Suspect { // the next check tells
		return
	}
	s.health, s.damper.told = h, h.Verdict
	why := Outcome{Reason: h.Reason, Output: h.Output}
	switch {
	case h.Verdict == cluster.Leaving && h.Reason == wantsNone:
		s.said.none = true
	case h.Verdict == cluster.Leaving:
		s.said.leaving, s.said.leave = true, h.Output
	case h.Verdict == cluster.Failing && h.Reason == saysFail:
		s.said.failing, s.said.fail = true, h.Output
	case h.Verdict == cluster.Dead && !s.connects():
		s.kernel.lost, s.kernel.gone, s.kernel.why = true, looksGone, why
	default:
		s.rung.verdict, s.rung.why = h.Verdict, why
	}
}

// retask goes on with the same instance under another check or address.
func (s *subject) retask(t task) {
	same := s.task.same(t)
	s.task = t
	if same {
		return
	}
	s.rung.good, s.rung.bad, s.latencies, s.kernel = 0, 0, nil, kernel{}
	if t.check == nil {
		s.rung.verdict, s.damper.falls = "", 0 // nobody would ever find it well again
	}
}

// see takes up an outcome of its check.
func (s *subject) see(o Outcome, now time.Duration) {
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
		s.judged = true
		s.made++
		if s.connects() {
			s.connected++
		}
		s.unknown, s.unknowns = "", 0
	} else if s.unknowns++; s.unknowns >= s.pace().Fall {
		s.unknown = o.Reason
	}
	s.rung.step(s.pace(), o, now)
}

// pace is the rise and fall of an instance.
func (s *subject) pace() *cluster.Check {
	if s.check == nil {
		return &unchecked
	}
	return s.check
}

// seen is the worst that any source says of the instance now.
func (s *subject) seen() (cluster.Verdict, Outcome) {
	switch {
	case s.kernel.lost:
		return cluster.Dead, s.kernel.why
	case s.rung.verdict == cluster.Dead:
		return cluster.Dead, s.rung.why
	case s.wasDead:
		// Its process was started anew, and does not know what the one before said.
		s.said.leaving, s.said.failing, s.said.none = false, false, false
	}
	s.wasDead = false
	switch {
	case s.said.leaving:
		return cluster.Leaving, Outcome{Reason: saysLeave, Output: s.said.leave}
	case s.said.none && s.wishes:
		return cluster.Leaving, Outcome{Reason: wantsNone}
	case s.rung.verdict == cluster.Failing:
		return cluster.Failing, s.rung.why
	case s.said.failing:
		return cluster.Failing, Outcome{Reason: saysFail, Output: s.said.fail}
	}
	return "", Outcome{}
}

// suspect says whether the instance may be about to fail. Of one that reports itself there is nothing to see before.
func (s *subject) suspect() bool { return s.rung.suspect() && (s.check == nil || s.runs()) }

// settle decides what is told, and says what was told before and what is now. Reason and output are those of the time when
// the verdict was reached: what is told changes with the verdict only, or with who wishes that it leaves.
func (s *subject) settle(now time.Duration, clock time.Time) (before, after cluster.Verdict) {
	before = s.health.Verdict
	seen, why := s.seen()
	s.wasDead = seen == cluster.Dead
	after = s.damper.settle(seen, now)
	if s.alarm.settle(s.suspect(), after != "", now) {
		after, why = cluster.Suspect, s.rung.first
	}
	if after == before {
		if after == cluster.Leaving && seen == after && why.Reason != s.health.Reason {
			s.health.Reason, s.health.Output = why.Reason, why.Output // a restart goes on from what is told: who began it has to end it
		}
		return before, after
	}
	stamp := func(t time.Duration) time.Time { return clock.Add(t - now).Round(0).UTC().Truncate(time.Millisecond) }
	switch s.health = (cluster.Health{Verdict: after, Reason: why.Reason, Output: why.Output, Since: stamp(now)}); {
	case after == "":
		s.health = cluster.Health{}
	case after == cluster.Suspect:
		s.health.Since = stamp(s.rung.began)
	case after == cluster.Failing && s.rung.verdict == cluster.Failing:
		s.health.Began = stamp(s.rung.began)
	}
	return before, after
}

// unchecked is the pace of instances without a check, of which only failed connections tell: one look in latencyWindow.
var unchecked = cluster.Check{Rise: 6, Fall: 3}

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
	r := Result{Checks: s.made, Connections: s.connected, To: s.address, Failed: s.failed, FailedInRow: s.inRow}
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
