package check

import (
	"container/heap"
	"hash/fnv"
	"time"
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

func phase(id ID, node string, interval time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id.Service + "\x00" + id.Instance + "\x00" + node))
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd // the low bits of FNV alone are poor
	x ^= x >> 33
	return time.Duration(x % uint64(interval))
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
