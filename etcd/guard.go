package etcd

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// releaseAfter is how long deletions are held back when nobody says a word and they stand unchanged.
const releaseAfter = 10 * time.Minute

// absence is what is missing from a list that was known before.
type absence struct {
	ready     bool // the list has net/ready, or it never was there
	fell      bool // its revision is lower than one seen
	frontends int  // known before
	lost      int  // of those, belonging to services that are missing
}

// suspectList says why the deletions of a list are not believed, or "".
func suspectList(a absence) string {
	switch {
	case !a.ready:
		return "the list has no net/ready: the store is empty or not ours"
	case a.fell:
		return "the store's revision is lower than one seen before: it was wiped or restored"
	case a.lost > max(10, a.frontends*30/100):
		return fmt.Sprintf("%d of %d frontends are missing at once", a.lost, a.frontends)
	}
	return ""
}

// suspectRevision says why the deletions of one revision of a watch are not believed, or "".
func suspectRevision(services, deleted int) string {
	if services >= 10 && 2*deleted > services {
		return fmt.Sprintf("%d of %d services were deleted at once", deleted, services)
	}
	return ""
}

// hold is what is not believed. Its keys stay in force; the zero value holds nothing.
type hold struct {
	keys  map[string]bool
	floor int64 // the newest revision without anything of what is held
	held  cluster.Held
}

// add holds more keys back. The ten minutes begin anew: what was seen is not the same any more.
func (h *hold) add(keys []string, revision int64, reason string) {
	if len(keys) == 0 {
		return
	}
	if h.keys == nil {
		h.keys, h.floor = map[string]bool{}, revision-1
	}
	h.floor = min(h.floor, revision-1)
	for _, key := range keys {
		h.keys[key] = true
	}
	h.held = cluster.Held{Revision: revision, Reason: reason, Since: time.Now()}
}

// back takes a key out, because it is there again.
func (h *hold) back(key string) {
	if delete(h.keys, key); len(h.keys) == 0 {
		*h = hold{}
	}
}

func (h *hold) active() bool { return len(h.keys) > 0 }

// release hands over the keys that may go now.
func (h *hold) release() []string {
	keys := slices.Sorted(maps.Keys(h.keys))
	*h = hold{}
	return keys
}

// due is when the hold ends by itself, if the next list still lacks the same.
func (h *hold) due() time.Time { return h.held.Since.Add(releaseAfter) }

func (h *hold) expired() bool { return !time.Now().Before(h.due()) }

// describe is what the snapshot says; services counts those that would go.
func (h *hold) describe(services int) *cluster.Held {
	if !h.active() {
		return nil
	}
	held := h.held
	held.Deleted = services
	return &held
}
