package etcd

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// away waits until the store says that etcd is away.
func away(t *testing.T, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool { return !s.Status().Connected }, soon, 10*time.Millisecond)
}

var quick = WatchOptions{Probe: 200 * time.Millisecond}

func TestCompactionWhileAway(t *testing.T) {
	t.Parallel()
	e := server(t)
	p := forward(t, e.Endpoint())
	writer, s := open(t, e.Endpoint()), open(t, p.endpoint())
	publish(t, writer, svc("gone", 1))
	publish(t, writer, svc("stays", 2))
	w := watch(t, s, quick)
	w.until(t, "both", func(s *cluster.Snapshot) bool { return has("gone")(s) && has("stays")(s) })

	p.Freeze(true)
	p.Cut()
	away(t, s)
	_, err := writer.Commit(t.Context(), cluster.Withdraw{Service: stored(t, writer, "gone")})
	require.NoError(t, err)
	revision := publish(t, writer, svc("new", 3))
	for range 5 {
		_, err = writer.Commit(t.Context(), cluster.SetConfig{Config: &cluster.Config{}})
		require.NoError(t, err)
	}
	now, err := writer.Snapshot(t.Context())
	require.NoError(t, err)
	_, err = raw(t, writer).Compact(t.Context(), now.Revision)
	require.NoError(t, err)
	p.Freeze(false)
	p.Cut()

	got := w.until(t, "what happened meanwhile", reached(revision))
	require.True(t, has("new")(got) && has("stays")(got) && lacks("gone")(got))
	require.Positive(t, s.Status().Relists)
}

func TestWatchSurvivesRestartOfEtcd(t *testing.T) {
	t.Parallel()
	dir, listen := t.TempDir(), lab.Loopback().String()
	e := serve(t, dir, listen)
	s := open(t, e.Endpoint())
	w := watch(t, s, quick)
	publish(t, s, svc("a", 1))
	w.until(t, "a", has("a"))
	e.Close()
	away(t, s)
	require.NotEmpty(t, s.Status().LastError)
	require.True(t, has("a")(w.snapshot()), "what is known stays")

	again := serveAgain(t, dir, listen)
	publish(t, open(t, again.Endpoint()), svc("b", 2))
	got := w.until(t, "b", has("b"))
	require.True(t, has("a")(got))
	require.Zero(t, s.Status().Relists, "it went on where it was")
	require.Eventually(t, func() bool { return s.Status().Connected }, soon, 10*time.Millisecond)
}

func TestWipedStoreIsDetectedByItsRevision(t *testing.T) {
	t.Parallel()
	listen := lab.Loopback().String()
	e := serve(t, t.TempDir(), listen)
	s := open(t, e.Endpoint())
	w := watch(t, s, quick)
	for i := range 5 {
		publish(t, s, svc(fmt.Sprint("s", i), i))
	}
	w.until(t, "all five", func(s *cluster.Snapshot) bool { return s.Services.Len() == 5 })
	e.Close()
	e = serveAgain(t, t.TempDir(), listen)

	held := w.until(t, "the loss is held", func(s *cluster.Snapshot) bool { return s.Held != nil })
	require.Equal(t, 5, held.Services.Len())
	require.Equal(t, 5, held.Held.Deleted)
	other := open(t, e.Endpoint())
	revision := publish(t, other, svc("new", 9))
	got := w.until(t, "what is new", has("new"))
	require.Equal(t, 6, got.Services.Len())
	require.Less(t, got.Revision, revision, "not acknowledged while something is held")

	_, err := other.Commit(t.Context(), cluster.AcceptHeld{Revision: held.Held.Revision})
	require.NoError(t, err)
	got = w.until(t, "released", func(s *cluster.Snapshot) bool { return s.Held == nil && s.Revision >= revision })
	require.Equal(t, 1, got.Services.Len())
}

// An open watch stays silent when the store behind it is exchanged for a younger one; the beat of Alive tells.
func TestRestoredStoreBehindOpenConnections(t *testing.T) {
	t.Parallel()
	old, young := server(t), server(t)
	a, b := open(t, old.Endpoint()), open(t, young.Endpoint())
	for i := range 10 {
		publish(t, a, svc(fmt.Sprint("s", i), i))
	}
	publish(t, b, svc("young", 100))
	w := watch(t, a, WatchOptions{Probe: time.Hour})
	w.until(t, "ten", func(s *cluster.Snapshot) bool { return s.Services.Len() == 10 })
	l, err := a.members.link()
	require.NoError(t, err)
	a.members.mu.Lock() // nobody goes back to the old one
	a.members.endpoints = []string{young.Endpoint()}
	l.client.SetEndpoints(young.Endpoint())
	a.members.mu.Unlock()
	revision, _, err := a.revision(t.Context(), raw(t, b)) // any answer, as of a beat
	require.NoError(t, err)
	got := w.until(t, "the young one", has("young"))
	require.Equal(t, 11, got.Services.Len())
	require.Equal(t, revision-1, got.Revision)
	require.Contains(t, got.Held.Reason, "lower than one seen before")
}

func TestFrozenMemberIsLeft(t *testing.T) {
	t.Parallel()
	e := server(t)
	bad, good := forward(t, e.Endpoint()), forward(t, e.Endpoint())
	s := open(t, bad.endpoint(), good.endpoint())
	s.members.at = 0
	w := watch(t, s, quick)
	writer := open(t, e.Endpoint())
	publish(t, writer, svc("a", 1))
	w.until(t, "a", has("a"))
	require.Equal(t, bad.endpoint(), s.Status().Endpoint)

	bad.Freeze(true)
	begin, elapsed := time.Now(), lab.Pulse(t)
	publish(t, writer, svc("b", 2))
	w.until(t, "b", has("b"))
	require.Less(t, elapsed(), patience+3*time.Second)
	require.Equal(t, good.endpoint(), s.Status().Endpoint)
	require.Zero(t, s.Status().Relists)
	t.Logf("from the freeze to the first event through the next member: %s", time.Since(begin).Round(time.Millisecond))
}

func TestMalformedValuesHarmOnlyThemselves(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	w := watch(t, s, WatchOptions{})
	publish(t, s, svc("a", 1))
	w.until(t, "a", has("a"))
	c := raw(t, s)
	for i := 0; i < 1000; i += 100 {
		var puts []clientv3.Op
		for j := i; j < i+100; j++ {
			key := []string{"net/services/bad%d", "net/health/bad%d", "net/Bad\x1b%d", "net/admin/a/%d"}[j%4]
			puts = append(puts, clientv3.OpPut(s.prefix+fmt.Sprintf(key, j), []string{"{", "\x00\xff", `{"nonsense":1}`}[j%3]))
		}
		_, err := c.Txn(t.Context()).Then(puts...).Commit()
		require.NoError(t, err)
	}
	_, err := c.Put(t.Context(), s.prefix+"net/services/a", `{"name":"a","ports":"all"}`)
	require.NoError(t, err)
	publish(t, s, svc("b", 2))
	listed, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	got := w.until(t, "b", has("b"))
	require.Len(t, got.Problems, 1001)
	require.Len(t, listed.Problems, 1001)
	for _, p := range got.Problems {
		require.True(t, strings.HasPrefix(p.Object, "key net/"), p.Object)
		require.NotEmpty(t, p.Fix)
		requirePrintable(t, p.Error())
	}
	in, _ := got.Services.Get("a")
	require.Equal(t, svc("a", 1).VIPs, in.Service.VIPs, "the last good value stays")
	require.False(t, has("a")(listed), "who comes later never saw it")

	for _, prefix := range []string{"net/services/bad", "net/health/", "net/Bad", "net/admin/"} {
		_, err = c.Delete(t.Context(), s.prefix+prefix, clientv3.WithPrefix())
		require.NoError(t, err)
	}
	w.until(t, "one problem is left", func(s *cluster.Snapshot) bool { return len(s.Problems) == 1 })
}

func TestQuietWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	p := forward(t, "http://"+lab.Loopback().String()) // accepts, then closes: it counts the attempts
	s := open(t, p.endpoint())
	watch(t, s, WatchOptions{})
	require.Eventually(t, func() bool { return p.Accepted() >= 3 }, soon, 10*time.Millisecond)
	begin, before := time.Now(), p.Accepted()
	require.Eventually(t, func() bool { return time.Since(begin) > 5*time.Second }, soon, 100*time.Millisecond)
	attempts := p.Accepted() - before
	require.Less(t, attempts, 40)
	t.Logf("%d connections in 5 s while etcd is away", attempts)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "weir")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := open(t, serve(t, t.TempDir(), "unix://"+dir+"/e").Endpoint())
	w := watch(t, s, WatchOptions{})
	publish(t, s, svc("a", 1))
	w.until(t, "a", has("a"))
}
