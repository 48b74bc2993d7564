package loadmon

import (
	"fmt"
	"math"
	"time"
)

// window is what happened at one instance between two of its reports.
type window struct {
	seconds float64
	opened  float64 // connections
	ended   float64
	active  float64 // the mean number of open connections
	busy    float64 // 0.02..1
	failed  float64 // part of the opened ones
}

// hear takes a new report. It says why the report cannot be true, or "".
func (t *track) hear(m Measured, now time.Time) (why string) {
	if why := m.implausible(now); why != "" {
		return why
	}
	if m.At.Before(now.Add(-fresh)) {
		return "" // old: as if it were not there
	}
	last := t.last
	if last.Node == m.Node && last.Uptime == m.Uptime {
		return "" // the same one again
	}
	restarted := last.Node != m.Node || m.Uptime < last.Uptime
	if !restarted && (m.Connections < last.Connections || m.Failed < last.Failed) {
		t.last = m
		return "its counters fell although its monitor was not restarted: counting anew from there"
	}
	secs := (m.Uptime - last.Uptime).Seconds()
	if restarted || secs > fresh.Seconds() {
		t.last, t.silent = m, 0 // something to count from
		return ""
	}
	opened, failed := float64(m.Connections-last.Connections), float64(m.Failed-last.Failed)
	if opened > maxRate*secs {
		return fmt.Sprintf("%.0f new connections in %.1f s are more than an instance can have", opened, secs)
	}
	t.last, t.silent, t.heard = m, 0, true
	t.latest = window{
		seconds: secs, opened: opened,
		ended:  max(0, opened+float64(last.Active)-float64(m.Active)),
		active: (float64(last.Active) + float64(m.Active)) / 2,
		busy:   min(max(m.busy(), MinBusy), 1),
		failed: min(failed/max(opened, 1), 1),
	}
	return ""
}

// early says whether its clock is ahead of ours.
func (m Measured) early(now time.Time) bool { return m.At.After(now.Add(ahead)) }

// implausible says why figures, or the time that they are of, cannot be true whatever came before, or "".
func (m Measured) implausible(now time.Time) string {
	if why := m.Load.implausible(); why != "" {
		return why
	}
	switch {
	case m.Uptime < 0 || m.Uptime > maxUptime:
		return "the time since its monitor started cannot be"
	case m.early(now):
		return fmt.Sprintf("its figures are %s from the future", m.At.Sub(now).Round(time.Second))
	}
	return ""
}

// busy is what the application says of itself, else what its node saw.
func (m Measured) busy() float64 {
	if m.Utilization != nil {
		return *m.Utilization
	}
	return m.Busy
}

// fresh says whether the figures still count.
func (t *track) fresh() bool { return t.silent < fresh }

// tells says whether its figures are of the kind by which the service's instances are compared.
func (t *track) tells(p Policy) bool {
	return !p.Tells || t.last.Utilization != nil && !t.constant.stuck()
}

// lifeMemory is how fast the mean life of connections is forgotten.
const lifeMemory = 60.0

// life is the mean life of an instance's connections by Little's law: open ones by new ones a second.
type life struct{ active, opened float64 }

func (l *life) add(w window) {
	keep := math.Exp(-w.seconds / lifeMemory)
	l.active = l.active*keep + w.active*w.seconds
	l.opened = l.opened*keep + w.opened
}

func (l life) seconds() float64 { return l.active / l.opened }

// Connections of which every instance's live longer than lastingFrom are counted instead of their ends, until those of
// one live shorter than lastingTo. The instance with the shortest decides: in a queue that grows they seem to live long.
const lastingFrom, lastingTo = 10.0, 5.0

func (s State) lives(in Input) bool {
	shortest := math.Inf(1)
	for _, c := range in.Instances {
		if l := s.tracks[c.ID].life; l.opened >= 1 {
			shortest = min(shortest, l.seconds())
		}
	}
	if s.lasting {
		return shortest >= lastingTo
	}
	return shortest >= lastingFrom && !math.IsInf(shortest, 1)
}

// What makes a sample: few connections say little, and old ones nothing of the present.
const (
	poolEnough = 20.0
	poolLeast  = 5.0
	poolOldest = 60.0
	poolQueue  = 20.0
)

// pool adds up windows until they are enough for a sample.
type pool struct {
	seconds, ended, active, busy, cost float64

	latest float64 // busy in the last window
}

func (p *pool) add(w window) {
	p.seconds += w.seconds
	p.ended += w.ended
	p.active += w.active * w.seconds
	p.busy += w.busy * w.seconds
	p.cost += (w.busy + w.failed) * w.seconds
	p.latest = w.busy
}

// sample is what an instance did for each busy second.
type sample struct {
	x        float64 // logarithm
	variance float64 // as far as the number of connections tells
	full     bool    // it was busy all the time
	atMost   bool    // it was asked for more than it did: it can take less than x
}

// sample empties the pool when it holds enough. While a queue of lasting connections' requests grows and drains, what was
// asked in one window is done in a later one, so that only all of them together are true; but they are not waited for
// for long, and not at all for a first guess.
func (p *pool) sample(lasting, first bool) (s sample, ok bool) {
	busy := p.busy / p.seconds
	switch {
	case p.seconds == 0 || !lasting && p.ended < poolEnough && p.seconds < poolOldest:
		return sample{}, false
	case lasting && !first && p.latest > saturated && p.seconds < poolQueue:
		return sample{}, false
	case busy <= MinBusy, !lasting && p.ended < poolLeast, lasting && p.active < p.seconds:
		*p = pool{} // idle
		return sample{}, false
	case lasting:
		s = sample{math.Log(p.active / p.cost), 0.08 * 0.08, busy > saturated, busy > saturated}
	default:
		s = sample{math.Log(p.ended / p.cost), 2 / p.ended, busy > saturated, false}
	}
	*p = pool{}
	return s, true
}

// saturated is the busy fraction from which there was a queue all the time.
const saturated = 0.97
