package loadmon

import (
	"math"
	"slices"
	"time"
)

// ScaleState is what the leader remembers of one service between two decisions about its number. It is a value, and the
// zero State knows nothing: who leads anew waits a whole window before it takes instances away, so that nothing of it
// need be kept in the store. It holds durations and no times but the last, as State does.
type ScaleState struct {
	at       time.Time
	seen     time.Duration // how long it has been looked at, up to the window
	idle     time.Duration // since the last connection
	wishes   wishes
	grown    []growth // of the last period
	capacity float64  // new connections/s that keep one instance busy all the time; 0: not known
}

// growth is how many instances one decision added.
type growth struct {
	by  int
	age time.Duration
}

func (s ScaleState) advance(in ScaleInput) ScaleState {
	elapsed := time.Duration(0)
	if !s.at.IsZero() {
		elapsed = min(max(in.Now.Sub(s.at), 0), fresh)
	}
	next := ScaleState{at: in.Now, capacity: s.capacity, wishes: s.wishes.older(elapsed, in.Policy.Window)}
	next.seen = min(s.seen+elapsed, in.Policy.Window)
	if in.quiet() {
		next.idle = min(s.idle+elapsed, longestIdle)
	}
	for _, g := range s.grown {
		if g.age += elapsed; g.age < period {
			next.grown = append(next.grown, g)
		}
	}
	return next
}

// quiet says whether it is known that nobody is connected or connects.
func (in ScaleInput) quiet() bool {
	if len(in.Ready) == 0 {
		return false // while the first one starts, somebody waits for it
	}
	for _, id := range in.Ready {
		rate, ok := in.value(ByRate, id)
		active, there := in.value(ByConnections, id)
		if !ok || !there || rate > 0 || active > 0 {
			return false
		}
	}
	return true
}

// most is how many there may be by now.
func (s ScaleState) most(desired int) int {
	before := desired
	for _, g := range s.grown {
		before -= g.by
	}
	before = max(before, 0)
	return max(2*before, before+stepUp, desired)
}

// again is how long it takes until there may be more than by now. What this decision adds counts, too.
func (s ScaleState) again() time.Duration {
	oldest := time.Duration(0)
	for _, g := range s.grown {
		oldest = max(oldest, g.age)
	}
	return period - oldest
}

const (
	// Between these busy fractions an instance shows what a connection costs: below there is little to see, above it
	// there may be a queue.
	teachable, learnable = 0.1, 0.8
	// forgets is how much of an older estimate one decision leaves.
	forgets = 0.8
	// longLived is a mean life of connections from which their number a second says nothing of the work.
	longLived = 10 * time.Second
)

// learn takes what new connections cost from the instances that are neither idle nor full.
func (s *ScaleState) learn(in ScaleInput) {
	rate, busy, active := 0.0, 0.0, 0.0
	for _, id := range in.Ready {
		f := in.Figures[id]
		if f.Busy >= teachable && f.Busy <= learnable && f.Rate > 0 && !math.IsInf(f.Rate, 1) && f.Active >= 0 {
			rate, busy, active = rate+f.Rate, busy+f.Busy, active+f.Active
		}
	}
	if busy == 0 || active/rate > longLived.Seconds() {
		return
	}
	if capacity := rate / busy; s.capacity == 0 {
		s.capacity = capacity
	} else {
		s.capacity = forgets*s.capacity + (1-forgets)*capacity
	}
}

// wishes are those of a window, without those that a later one was as large as: the first is the highest.
type wishes []wished

type wished struct {
	want int
	age  time.Duration
}

func (w wishes) older(elapsed, window time.Duration) wishes {
	out := make(wishes, 0, len(w)+1)
	for _, one := range w {
		if one.age += elapsed; one.age <= window {
			out = append(out, one)
		}
	}
	return out
}

func (w *wishes) add(want int) {
	*w = append(slices.DeleteFunc(*w, func(one wished) bool { return one.want <= want }), wished{want: want})
}

func (w wishes) highest() int {
	if len(w) == 0 {
		return 0
	}
	return w[0].want
}
