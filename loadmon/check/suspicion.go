package check

import "time"

// suspicion decides when it is told that an instance may be failing: from the first failure of a row on, so that it is known
// before any verdict that several instances of a service fail at once. Alarms that came to nothing are told more seldom: the
// next one 2 seconds after the first at the earliest, then 4, 8, 16, 32 and 60. An alarm is forgotten after two minutes
// without another.
type suspicion struct {
	told   bool
	alarms int           // that are remembered
	next   time.Duration // at the earliest
	calm   time.Duration // since when alarms are forgotten
}

// settle says whether the instance is to be called suspect now. fell: a verdict is told of it.
func (s *suspicion) settle(suspect, fell bool, now time.Duration) bool {
	for s.alarms > 0 && now-s.calm >= forget {
		s.alarms, s.calm = s.alarms-1, s.calm+forget
	}
	switch {
	case fell:
		s.told = false // it was right
	case suspect:
		s.told = s.told || now >= s.next
	case s.told:
		s.told, s.calm = false, now
		s.alarms = min(s.alarms+1, maxFall-1)
		s.next = now + min(maxHold, time.Second<<s.alarms)
	}
	return s.told
}
