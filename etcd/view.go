package etcd

import (
	"hash/maphash"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// view is one watcher's copy of net/: the draft, and what is needed to tell what a list or an event changes in it. One
// goroutine owns it.
type view struct {
	draft     *cluster.Draft
	known     map[string]version // every key that is in force or held back
	frontends map[string]int     // of each service key in known
	revision  int64              // everything up to here has been seen
	accepted  int64              // of net/guard
	fell      int64              // the revision that the store fell to, until that is accepted; 0: it did not
	hold      hold
	listed    bool
	past      *cluster.Snapshot // of the process before, until the first list
}

// version tells two values of a key apart. The revision alone does not: a store that was wiped counts from one again.
type version struct {
	modded int64
	sum    uint64
}

var sumSeed = maphash.MakeSeed()

func newView() *view {
	return &view{draft: cluster.NewDraft(), known: map[string]version{}, frontends: map[string]int{}}
}

// snapshot seals what is in force. While deletions are held back its revision stays below them.
func (v *view) snapshot() *cluster.Snapshot {
	services, revision := 0, v.revision
	for key := range v.hold.keys {
		if _, service := v.frontends[key]; service {
			services++
		}
	}
	if v.hold.active() {
		revision = min(revision, v.hold.floor)
	}
	v.draft.Held(v.hold.describe(services))
	return v.draft.Snapshot(revision)
}

// list moves the view to what a list says.
func (v *view) list(l listing) {
	v.recall(l)
	v.compareRevision(l.revision)
	missing := maps.Clone(v.known)
	_, ready := v.known[readyKey]
	ready = !ready // before the first publish nothing can be concluded from its absence
	for _, e := range l.entries {
		delete(missing, e.key)
		ready = ready || e.key == readyKey
	}
	if _, gone := missing[guardKey]; gone {
		v.accepted = 0 // an acceptance that the store does not know any more was meant for another life of it
	}
	v.judge(l.revision, missing, ready)
	for _, e := range l.entries {
		v.put(e)
	}
	v.revision, v.listed = l.revision, true
	v.accept()
}

// judge deletes what a list lacks, or holds it back.
func (v *view) judge(revision int64, missing map[string]version, ready bool) {
	a := absence{ready: ready, fell: revision < v.revision}
	stays := v.hold.active() && !v.hold.expired()
	var fresh, ripe []string
	for key := range missing {
		if !v.hold.keys[key] {
			fresh = append(fresh, key)
			a.lost += v.frontends[key]
		} else if !stays {
			ripe = append(ripe, key)
		}
	}
	for _, n := range v.frontends {
		a.frontends += n
	}
	v.remove(ripe)
	if reason := suspectList(a); v.listed && reason != "" {
		v.hold.add(v.holdable(fresh), revision, reason)
		return
	}
	v.remove(fresh)
}

// holdable drops what only speaks about the store itself.
func (v *view) holdable(keys []string) (out []string) {
	for _, key := range keys {
		if key == guardKey || key == barrierKey {
			v.remove([]string{key})
			continue
		}
		out = append(out, key)
	}
	return out
}

// event is one entry of a watch; a deletion has only key and modded.
type event struct {
	entry
	deleted bool
}

// events moves the view along. They are grouped by revision; those older than what has been seen are dropped, so that
// a repeated or late delivery changes nothing.
func (v *view) events(events []event) {
	for len(events) > 0 {
		revision, n := events[0].modded, 1
		for n < len(events) && events[n].modded == revision {
			n++
		}
		if revision >= v.revision {
			v.step(revision, events[:n])
		}
		events = events[n:]
	}
}

// step is all that one transaction did.
func (v *view) step(revision int64, events []event) {
	var gone []string
	services := 0
	for _, e := range events {
		if !e.deleted {
			continue
		}
		gone = append(gone, e.key)
		if _, service := v.frontends[e.key]; service && !v.hold.keys[e.key] {
			services++
		}
	}
	if reason := suspectRevision(len(v.frontends), services); reason != "" {
		v.hold.add(v.holdable(gone), revision, reason)
	} else {
		v.remove(slices.DeleteFunc(gone, func(key string) bool { return v.hold.keys[key] }))
	}
	for _, e := range events {
		if !e.deleted {
			v.put(e.entry)
		}
	}
	v.revision = revision
	v.accept()
}

// accept lets go what an operator said may go.
func (v *view) accept() {
	if v.hold.active() && v.accepted >= v.hold.held.Revision {
		v.remove(v.hold.release())
	}
	if v.fell > 0 && v.accepted >= v.fell {
		v.fell = 0
		v.draft.Problem(rollbackKey, nil)
	}
}

var (
	readyKey   = Key{Kind: KindReady}.String()
	guardKey   = Key{Kind: KindGuard}.String()
	barrierKey = Key{Kind: KindBarrier}.String()
)

// put takes over one value.
func (v *view) put(e entry) {
	now := version{e.modded, maphash.Bytes(sumSeed, e.value)}
	before, known := v.known[e.key]
	v.hold.back(e.key)
	if known && before == now {
		return
	}
	v.known[e.key] = now
	k, err := ParseKey(e.key)
	var value any
	if k.Kind == KindConfig {
		v.draft.Configured(e.modded)
	}
	if err == nil {
		value, err = decodeValue(k, e.value)
	}
	if err != nil {
		v.draft.Problem(e.key, malformed(e.key, err))
		return
	}
	v.draft.Problem(e.key, nil)
	if known && before.modded == now.modded {
		feed(v.draft, k, nil) // the draft takes equal revisions for equal values
	}
	v.take(k, value, e)
}

func (v *view) take(k Key, value any, e entry) {
	switch value := value.(type) {
	case *cluster.Service:
		value.CreateRevision, value.ModRevision = e.created, e.modded
		v.frontends[e.key] = len(value.VIPs) * len(value.Ports)
	case *Guard:
		v.accepted = value.Accept
	}
	if k.Kind == KindBarrier {
		v.draft.Barrier(e.modded)
	}
	feed(v.draft, k, value)
}

// remove lets keys go.
func (v *view) remove(keys []string) {
	for _, key := range keys {
		delete(v.known, key)
		delete(v.frontends, key)
		v.hold.back(key)
		v.draft.Problem(key, nil)
		k, err := ParseKey(key)
		if err != nil {
			continue
		}
		switch k.Kind {
		case KindBarrier:
			v.draft.Barrier(0)
		case KindConfig:
			v.draft.Configured(0)
		case KindGuard:
			v.accepted = 0
		}
		feed(v.draft, k, nil)
	}
}
