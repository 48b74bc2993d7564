package etcd

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// reborn is the view of a process that starts with what the one before had saved.
func reborn(t *testing.T, before *view) *view {
	t.Helper()
	var file bytes.Buffer
	require.NoError(t, new(cluster.Archiver).Write(&file, before.snapshot()))
	past, err := cluster.FromArchive(file.Bytes())
	require.NoError(t, err)
	v := newView()
	v.past = past
	return v
}

// A store that loses something while the agent restarts is judged as if the agent had been there.
func TestFirstListIsJudgedByTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list     listing
		services int
		held     string
		problem  string
	}{
		"the same":                      {full(t, 500, 20), 20, "", ""},
		"more":                          {full(t, 600, 25), 25, "", ""},
		"a few deletions":               {full(t, 600, 15), 15, "", ""},
		"many deletions":                {full(t, 600, 5), 20, "15 of 20 frontends are missing at once", ""},
		"wiped":                         {listing{revision: 1}, 20, "the list has no net/ready", "its revision fell from 500 to 1"},
		"wiped, and published to":       {listing{revision: 7, entries: []entry{{readyKey, []byte("true"), 2, 2}, put(t, svc("new", 99), 7)}}, 21, "lower than one seen before", "fell from 500 to 7"},
		"restored, one service lacking": {full(t, 400, 19), 20, "lower than one seen before", "fell from 500 to 400"},
		"restored, complete":            {full(t, 400, 20), 20, "", "fell from 500 to 400"},
	} {
		before := newView()
		before.list(full(t, 500, 20))
		v := reborn(t, before)
		v.list(c.list)
		got := v.snapshot()
		require.Equal(t, c.services, got.Services.Len(), name)
		if c.held == "" {
			require.Nil(t, got.Held, name)
			require.Equal(t, c.list.revision, got.Revision, name)
		} else {
			require.Contains(t, got.Held.Reason, c.held, name)
			require.Less(t, got.Revision, c.list.revision, "%s: what is held has not been applied", name)
		}
		if c.problem == "" {
			require.Empty(t, got.Problems, name)
			continue
		}
		require.Contains(t, got.Problems[0].What, c.problem, name)
		v.events([]event{accepting(c.list.revision+1, c.list.revision)})
		got = v.snapshot()
		require.Empty(t, got.Problems, "%s: accepted", name)
		require.Nil(t, got.Held, name)
		require.Equal(t, len(v.frontends), got.Services.Len(), name)
	}
}

// What was held before the restart is held after it, and not for longer.
func TestHeldOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before := newView()
		before.list(full(t, 500, 20))
		before.list(full(t, 400, 19))
		require.Equal(t, 20, before.snapshot().Services.Len())

		time.Sleep(releaseAfter / 2)
		v := reborn(t, before)
		v.list(full(t, 401, 19))
		got := v.snapshot()
		require.Equal(t, 20, got.Services.Len())
		want := before.snapshot().Held
		require.True(t, want.Since.Equal(got.Held.Since))
		got.Held.Since = want.Since
		require.Equal(t, want, got.Held)
		v.list(full(t, 402, 20))
		require.Nil(t, v.snapshot().Held, "it is back")

		v = reborn(t, before)
		v.list(full(t, 401, 19))
		time.Sleep(releaseAfter/2 + time.Second)
		v.list(full(t, 402, 19))
		require.Equal(t, 19, v.snapshot().Services.Len(), "the same list 10 minutes later")
	})
}

// Everything that decides over traffic is put back, not the services alone.
func TestRecallKeepsEveryKind(t *testing.T) {
	t.Parallel()
	five := 5
	list := full(t, 500, 1)
	for key, value := range map[string]any{
		"net/config":                  &cluster.Config{Paused: true},
		"net/nodes/n1":                &cluster.Node{Version: "1"},
		"net/instances/n1/s0/one":     &cluster.Instance{Addr: netip.MustParseAddr("192.168.9.1"), Port: 80, Weight: 1},
		"net/admin/s0/192.168.1.1:80": &cluster.Admin{Weight: &five},
		"net/weights/s0":              &cluster.Weights{Share: map[string]int{"one": 3}},
		"net/admin-node/n1":           &cluster.NodeAdmin{Cordon: true},
		"net/down/n1":                 &cluster.Down{Reason: "gone"},
	} {
		text, err := encode(value)
		require.NoError(t, err)
		list.entries = append(list.entries, entry{key, text, 9, 9})
	}
	before := newView()
	before.list(list)
	want := before.snapshot()
	in, _ := want.Services.Get("s0")
	require.NotEmpty(t, in.Hosts, "n1 hosts an instance, else its records would not be known")

	v := reborn(t, before)
	v.list(listing{revision: 1})
	got := v.snapshot()
	require.Equal(t, contents(want), contents(got))
	require.Equal(t, want.Config, got.Config)
	require.True(t, got.Ready)
	v.events([]event{accepting(2, 1)})
	require.Zero(t, v.snapshot().Services.Len())
	require.Nil(t, v.snapshot().Config)
	require.Zero(t, v.snapshot().Nodes.Len())
}

func TestWatchIsJudgedByTheFile(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("new", 50))
	before := newView()
	before.list(full(t, 5000, 3))
	w := watch(t, s, WatchOptions{Last: reborn(t, before).past})
	got := w.until(t, "the first", func(s *cluster.Snapshot) bool { return true })
	require.Equal(t, 4, got.Services.Len())
	require.Equal(t, 3, got.Held.Deleted)
	_, err := s.Commit(t.Context(), cluster.AcceptHeld{Revision: got.Held.Revision})
	require.NoError(t, err)
	got = w.until(t, "accepted", func(s *cluster.Snapshot) bool { return s.Held == nil })
	require.Equal(t, 1, got.Services.Len())
	require.Empty(t, got.Problems)
}
