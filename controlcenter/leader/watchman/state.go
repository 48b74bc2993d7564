package watchman

import (
	"maps"
	"slices"
	"time"
)

const (
	leaseTTL = 10 * time.Second // of ops/alive: so long a node without an agent may look alive
	goneFor  = 3 * time.Second  // a node without a lease is looked at
	deaf     = 3 * time.Second  // without an answer of etcd nothing is concluded from it
	window   = time.Minute      // of the guard
	settle   = 5 * time.Second  // until a write must have come back by the watch
	fresh    = 7 * time.Second  // a look that is older is no reason to declare a node down

	lookAgain  = 5 * time.Second // at a node that is gone
	lookSoon   = 2 * time.Second // where it answered before, and the last look found nothing
	lookRetry  = time.Second     // where nobody could look
	alarmAgain = 10 * time.Minute
)

// State is what the watchman remembers. It is a value: Decide returns the next one. The zero State has seen nothing.
type State struct {
	watching time.Time // since when etcd has answered without a gap; zero: it does not
	tracks   map[string]track
	declared []time.Time          // of the nodes that were declared down within the window
	down     map[string]time.Time // nodes that were seen down; since when they are not any more, zero: they are
	looks    int
	raised   time.Time // the last time that an alarm was; zero: never
	alarmed  bool
	blocked  time.Time // since when too many are gone at once, and that is no guess; zero: they are not
}

// track is what is remembered of a node without a lease.
type track struct {
	since    time.Time
	look     int // number of the look that is under way; 0: none
	need     int // lookers that must have said that nothing answers
	looked   time.Time
	seen     seen
	silent   []string // the lookers of the last look that reached nothing
	said     string
	met      bool      // something there has answered since it is gone
	declared time.Time // it was declared down; the watch has not said so yet
}

// seen is what the looks at a node came to.
type seen int

const (
	unseen  seen = iota
	answers      // at least one of its instances does
	doubted      // they answered before, and now once not
	dead         // none does
	blind        // nobody could look
)

func (s State) clone() State {
	s.tracks = maps.Clone(s.tracks)
	if s.tracks == nil {
		s.tracks = map[string]track{}
	}
	s.down = maps.Clone(s.down)
	s.declared = slices.Clone(s.declared)
	return s
}

// gone says that a node's lease has been away for long enough, while somebody watched who would have seen it come back.
func (s State) gone(t track, now time.Time) bool {
	return now.Sub(t.since) >= goneFor && now.Sub(s.watching) >= leaseTTL+goneFor
}
