package etcd

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

func TestSuspectList(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		absence
		suspect bool
	}{
		"nothing missing":    {absence{ready: true, frontends: 100}, false},
		"no ready":           {absence{ready: false, frontends: 1}, true},
		"lower revision":     {absence{ready: true, fell: true, frontends: 100}, true},
		"30 of 100":          {absence{ready: true, frontends: 100, lost: 30}, false},
		"31 of 100":          {absence{ready: true, frontends: 100, lost: 31}, true},
		"10 of 10":           {absence{ready: true, frontends: 10, lost: 10}, false},
		"11 of 11":           {absence{ready: true, frontends: 11, lost: 11}, true},
		"3000 of 10,000":     {absence{ready: true, frontends: 10000, lost: 3000}, false},
		"3001 of 10,000":     {absence{ready: true, frontends: 10000, lost: 3001}, true},
		"nothing was there":  {absence{ready: true}, false},
		"11 of 33, 30 % = 9": {absence{ready: true, frontends: 33, lost: 11}, true},
	} {
		require.Equal(t, c.suspect, suspectList(c.absence) != "", name)
	}
}

func TestSuspectRevision(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		services, deleted int
		suspect           bool
	}{{9, 9, false}, {10, 5, false}, {10, 6, true}, {11, 6, true}, {1000, 500, false}, {1000, 501, true}, {0, 0, false}} {
		require.Equal(t, c.suspect, suspectRevision(c.services, c.deleted) != "", "%+v", c)
	}
}

// full is a list of n services, and net/ready, at a revision.
func full(t require.TestingT, revision int64, n int) listing {
	l := listing{revision: revision, entries: []entry{{readyKey, []byte("true"), 1, 1}}}
	for i := range n {
		l.entries = append(l.entries, put(t, svc(fmt.Sprint("s", i), i), int64(i+2)))
	}
	return l
}

func put(t require.TestingT, s *cluster.Service, revision int64) entry {
	value, err := encode(s)
	require.NoError(t, err)
	return entry{"net/services/" + s.Name, value, revision, revision}
}

func deletions(revision int64, from, to int) (out []event) {
	for i := from; i < to; i++ {
		out = append(out, event{entry{key: fmt.Sprint("net/services/s", i), modded: revision}, true})
	}
	return out
}

func accepting(revision, accept int64) event {
	return event{entry{guardKey, []byte(fmt.Sprintf(`{"accept":%d}`, accept)), revision, revision}, false}
}

func TestHeldDeletionsKeepServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newView()
		v.list(full(t, 100, 20))
		require.Nil(t, v.snapshot().Held)

		v.events(deletions(101, 0, 15))
		got := v.snapshot()
		require.Equal(t, 20, got.Services.Len())
		require.Equal(t, &cluster.Held{Revision: 101, Deleted: 15, Reason: "15 of 20 services were deleted at once", Since: time.Now()}, got.Held)
		require.Equal(t, int64(100), got.Revision, "what is held has not been applied")

		v.events([]event{{put(t, svc("new", 50), 102), false}, {put(t, svc("s3", 3), 102), false}})
		got = v.snapshot()
		require.True(t, has("new")(got), "the rest goes on")
		require.Equal(t, 14, got.Held.Deleted, "one is back")
		require.Equal(t, int64(100), got.Revision)

		v.events([]event{accepting(103, 100)})
		require.NotNil(t, v.snapshot().Held, "an older acceptance means something else")
		v.events([]event{accepting(104, 101)})
		got = v.snapshot()
		require.Nil(t, got.Held)
		require.Equal(t, 7, got.Services.Len())
		require.Equal(t, int64(104), got.Revision)
	})
}

func TestSameListTenMinutesLaterReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newView()
		v.list(full(t, 100, 40))
		v.list(full(t, 200, 10))
		require.Equal(t, 40, v.snapshot().Services.Len())
		require.Equal(t, int64(199), v.snapshot().Revision)

		time.Sleep(releaseAfter - time.Second)
		v.list(full(t, 300, 10))
		require.Equal(t, 40, v.snapshot().Services.Len(), "not yet")
		require.Equal(t, 30, v.snapshot().Held.Deleted)

		time.Sleep(time.Second)
		v.list(full(t, 301, 12))
		require.Equal(t, 12, v.snapshot().Services.Len())
		require.Nil(t, v.snapshot().Held)
		require.Equal(t, int64(301), v.snapshot().Revision)
	})
}

func TestMoreMissingBeginsTheTenMinutesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newView()
		v.list(full(t, 100, 100))
		v.list(full(t, 200, 60))
		time.Sleep(releaseAfter / 2)
		v.list(full(t, 300, 20))
		require.Equal(t, 80, v.snapshot().Held.Deleted)
		require.Equal(t, int64(199), v.snapshot().Revision, "below the first of what is held")
		time.Sleep(releaseAfter/2 + time.Second)
		v.list(full(t, 301, 20))
		require.Equal(t, 100, v.snapshot().Services.Len())
		time.Sleep(releaseAfter / 2)
		v.list(full(t, 302, 20))
		require.Equal(t, 20, v.snapshot().Services.Len())
	})
}

func TestWipedStoreIsHeldAndThenFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newView()
		v.list(full(t, 5000, 3))
		v.list(listing{revision: 1})
		got := v.snapshot()
		require.Equal(t, 3, got.Services.Len())
		require.True(t, got.Ready)
		require.Equal(t, "the list has no net/ready: the store is empty or not ours", got.Held.Reason)
		require.Equal(t, int64(0), got.Revision, "5000 would acknowledge what the new store has yet to write")

		// The same key at the same revision, with another value: only its content tells.
		s := svc("s0", 9)
		v.list(listing{revision: 2, entries: []entry{{readyKey, nil, 2, 2}, put(t, s, 2)}})
		got = v.snapshot()
		in, _ := got.Services.Get("s0")
		require.Equal(t, s.VIPs, in.Service.VIPs)
		require.Equal(t, 2, got.Held.Deleted)

		v.events([]event{accepting(3, 1)})
		require.Equal(t, 1, v.snapshot().Services.Len())
		require.Equal(t, int64(3), v.snapshot().Revision)
	})
}

func TestRestoredStoreWithEverythingHoldsNothing(t *testing.T) {
	t.Parallel()
	v := newView()
	v.list(full(t, 5000, 20))
	v.list(full(t, 4000, 20))
	require.Nil(t, v.snapshot().Held)
	require.Equal(t, int64(4000), v.snapshot().Revision)
}

func TestFewDeletionsPass(t *testing.T) {
	t.Parallel()
	v := newView()
	v.list(full(t, 100, 40))
	v.list(full(t, 200, 30))
	require.Equal(t, 30, v.snapshot().Services.Len())
	v.events(deletions(201, 0, 15))
	require.Equal(t, 15, v.snapshot().Services.Len())
}

func TestBeforeTheFirstPublishNothingIsHeld(t *testing.T) {
	t.Parallel()
	v := newView()
	v.list(listing{revision: 5, entries: []entry{{"net/nodes/n1", []byte("{}"), 3, 3}}})
	v.list(listing{revision: 6})
	require.Nil(t, v.snapshot().Held)
	require.Equal(t, 0, v.snapshot().Nodes.Len())
}

// Whatever is repeated, or comes late, changes nothing.
func TestRepeatedAndOldEventsChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var history []event
		for revision := int64(10); revision < 40; revision++ {
			i := rapid.IntRange(0, 5).Draw(t, "service")
			if rapid.Bool().Draw(t, "delete") {
				history = append(history, deletions(revision, i, i+1)...)
				continue
			}
			vip := rapid.IntRange(0, 200).Draw(t, "vip")
			history = append(history, event{put(t, svc(fmt.Sprint("s", i), vip), revision), false})
		}
		straight, odd := newView(), newView()
		straight.list(full(t, 9, 3))
		odd.list(full(t, 9, 3))
		straight.events(history)
		for at := 0; at < len(history); {
			next := min(len(history), at+rapid.IntRange(1, 5).Draw(t, "batch"))
			back := rapid.IntRange(0, at).Draw(t, "repeat from")
			odd.events(history[at:next])
			odd.events(history[back:next])
			at = next
		}
		a, b := straight.snapshot(), odd.snapshot()
		require.Equal(t, a.Revision, b.Revision)
		require.Equal(t, contents(a), contents(b))
	})
}

func contents(s *cluster.Snapshot) map[string]cluster.Inputs {
	out := map[string]cluster.Inputs{}
	for name, in := range s.Services.All() {
		out[name] = *in
	}
	return out
}
