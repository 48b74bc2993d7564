package check

import (
	"container/heap"
	"hash/fnv"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// queue orders the instances by when their next check is due.
type queue struct{ h subjectHeap }

// put plans the next check of an instance, unless it has none or one runs. Each instance has its own place within the
// interval, by hash and another one on every node, so that the checks of many never come at once. A check that was due
// while the last one ran is left out.
func (q *queue) put(s *subject, node string, now time.Duration) {
	if !s.runs() || s.busy {
		q.remove(s)
		return
	}
	interval := time.Duration(s.check.Interval)
	slot := phase(s.id, node, interval)
	at := slot + (now-slot+interval)/interval*interval // the first one after now
	if now < slot {
		at = slot
	}
	if s.index >= 0 && s.at <= at {
		return // planned already, as early as that
	}
	q.set(s, at)
}

// set plans a check at a time.
func (q *queue) set(s *subject, at time.Duration) {
	if s.at = at; s.index >= 0 {
		heap.Fix(&q.h, s.index)
		return
	}
	heap.Push(&q.h, s)
}

func (q *queue) remove(s *subject) {
	if s.index >= 0 {
		heap.Remove(&q.h, s.index)
	}
}

func (q *queue) first() (*subject, time.Duration) {
	if len(q.h) == 0 {
		return nil, 0
	}
	return q.h[0], q.h[0].at
}

// step is what the places within an interval are multiples of. Waking up costs as much as some checks do: 200 instances that
// are checked every 2 s are 25 at a time, eight times.
func step(interval time.Duration) time.Duration {
	const longest, places = 250 * time.Millisecond, 8
	return min(longest, interval/places)
}

// phase is an instance's place within its interval.
func phase(id ID, node string, interval time.Duration) time.Duration {
	each := step(interval)
	return time.Duration(hash(id.Service, id.Instance, node)%uint64(interval/each))*each + offset(node)
}

// offset is where a node's steps, and its looks at its sockets, begin: between those of other nodes.
func offset(node string) time.Duration {
	return time.Duration(hash(node) % uint64(step(time.Duration(cluster.MinInterval))))
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(parts, "\x00")))
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd // the low bits of FNV alone are poor
	return x ^ x>>33
}

type subjectHeap []*subject

func (h subjectHeap) Len() int           { return len(h) }
func (h subjectHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h subjectHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for package heap.
func (h *subjectHeap) Push(x any) {
	s := x.(*subject)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop is for package heap.
func (h *subjectHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.index = -1
	return s
}
