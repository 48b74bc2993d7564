package loadmon

import (
	"slices"
	"time"
)

// slowness is what the latency of its checks makes of an instance. The limits work only against one that is much slower
// than its fellows: a limit that all of them miss says nothing about one. The soft one works slowly, on how often it is
// missed and not by how much, since a queue that comes and goes by chance makes a single answer very late; and not while
// the instance is busy: that is the capacity's affair already.
type slowness struct {
	latency float64 // ms, smoothed over two reports; 0: not known
	missed  float64 // 0..1: how often the soft limit was missed of late
	keep    float64 // 0.25..1: the part of its weight that this leaves it
	row     int     // answers in a row beyond the hard limit
}

const (
	muchSlower = 3.0     // times the median
	missGain   = 1.0 / 6 // nine misses in a row, 45 s, make it often
	often      = 0.8
	seldom     = 0.3
	keepFalls  = 0.9 // each report
	keepRises  = 1.05
	keepLeast  = 0.25
	roomy      = 0.9 // busy up to which an instance has room for more
)

// latencies takes this round's latencies.
func (s State) latencies(in Input) {
	var known []float64
	for _, c := range in.Instances {
		t := s.tracks[c.ID]
		if t.heard && t.last.LatencyMS > 0 {
			if t.latency == 0 {
				t.latency = t.last.LatencyMS
			}
			t.latency += (t.last.LatencyMS - t.latency) / 2
			s.tracks[c.ID] = t
		}
		if t.fresh() && t.latency > 0 {
			known = append(known, t.latency)
		}
	}
	if len(known) == 0 {
		return
	}
	slices.Sort(known)
	slow := muchSlower * known[(len(known)-1)/2]
	for _, c := range in.Instances {
		if t := s.tracks[c.ID]; t.heard && t.last.LatencyMS > 0 {
			t.judge(t.last.LatencyMS > max(slow, ms(in.Policy.Soft)) && t.latest.busy < roomy, t.last.LatencyMS > max(slow, ms(in.Policy.Hard)))
			s.tracks[c.ID] = t
		}
	}
}

// judge counts which limits the last answer missed.
func (s *slowness) judge(soft, hard bool) {
	if s.row++; !hard {
		s.row = 0
	}
	if soft {
		s.missed += (1 - s.missed) * missGain
	} else {
		s.missed -= s.missed * missGain
	}
	switch {
	case s.missed > often:
		s.keep = max(s.keep*keepFalls, keepLeast)
	case s.missed < seldom:
		s.keep = min(s.keep*keepRises, 1)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
