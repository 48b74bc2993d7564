package etcd

import (
	"sync"
	"time"
)

// horizon is the highest revision that any answer of etcd carried. When an answer carries less, etcd may have been
// wiped or restored from a backup: it keeps its cluster id then, and open watches stay silent for ever. The answer may
// also come from a member that lags behind, so whoever is told looks again.
type horizon struct {
	mu      sync.Mutex
	highest int64
	heard   time.Time
	fell    chan struct{} // closed, and replaced, at a fall
}

func newHorizon() *horizon { return &horizon{fell: make(chan struct{})} }

// note takes the revision of an answer's header.
func (h *horizon) note(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = time.Now()
	if revision < h.highest {
		close(h.fell)
		h.fell = make(chan struct{})
	}
	h.highest = revision
}

// reach takes the revision of an event, which may be old news.
func (h *horizon) reach(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.highest = max(h.highest, revision)
}

// fall is closed at the next fall.
func (h *horizon) fall() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fell
}

// silence is how long etcd has not answered anything.
func (h *horizon) silence() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.heard)
}
