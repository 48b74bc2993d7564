package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

func TestCommitConflicts(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	_, err := s.Commit(t.Context(), cluster.Publish{Service: svc("a", 1)})
	require.ErrorIs(t, err, cluster.ErrConflict, "it exists")
	stale := stored(t, s, "a")
	_, err = s.Commit(t.Context(), cluster.Publish{Service: stale, Previous: stale})
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), cluster.Publish{Service: stale, Previous: stale})
	require.ErrorIs(t, err, cluster.ErrConflict, "it was changed")
	_, err = s.Commit(t.Context(), cluster.Withdraw{Service: stale})
	require.ErrorIs(t, err, cluster.ErrConflict)
	_, err = s.Commit(t.Context(), cluster.Withdraw{Service: svc("b", 2)})
	require.ErrorIs(t, err, cluster.ErrConflict, "it is not there")
	_, err = s.Commit(t.Context(), cluster.SetAdmin{Service: "b", ID: "x", Admin: &cluster.Admin{Drain: true}})
	require.ErrorIs(t, err, cluster.ErrConflict, "nobody to drain")

	_, err = s.Commit(t.Context(), cluster.Publish{Service: svc("b", 1)})
	var taken *cluster.TakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, "a", taken.Owner)
	require.Equal(t, svc("a", 1).Frontends()[0], taken.Frontend)
	require.ErrorIs(t, err, cluster.ErrConflict)
	require.NotContains(t, keys(t, s), "net/services/b")
}

func TestCommitReleasesDroppedFrontends(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	moved := stored(t, s, "a")
	next := *moved
	next.VIPs = svc("a", 2).VIPs
	_, err := s.Commit(t.Context(), cluster.Publish{Service: &next})
	require.NoError(t, err)
	publish(t, s, svc("b", 1))
	got := keys(t, s)
	require.Equal(t, "b", got["ops/vips/10.10.0.2/tcp/80"])
	require.Equal(t, "a", got["ops/vips/10.10.0.3/tcp/80"])
}

func TestCommitInheritsFromWhoIsGone(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	_, err := raw(t, s).Delete(t.Context(), s.prefix+"net/services/a") // by hand: the reservation stays
	require.NoError(t, err)
	publish(t, s, svc("b", 1))
	require.Equal(t, "b", keys(t, s)["ops/vips/10.10.0.2/tcp/80"])
}

// What nobody can read is not there for a planner, who then plans to create it: that replaces it. What can be read is
// never replaced by somebody who did not see it.
func TestCommitReplacesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	_, err := s.Commit(t.Context(), cluster.Publish{Service: svc("a", 1)})
	require.ErrorIs(t, err, cluster.ErrConflict)
	_, err = raw(t, s).Put(t.Context(), s.prefix+"net/services/a", "{broken")
	require.NoError(t, err)
	publish(t, s, svc("a", 1))
	require.Equal(t, svc("a", 1).VIPs, stored(t, s, "a").VIPs)
}

// wide has 100 frontends.
func wide(name string, from int) *cluster.Service {
	s := svc(name, 0)
	s.VIPs = nil
	for i := range cluster.MaxFrontends {
		s.VIPs = append(s.VIPs, netip.AddrFrom4([4]byte{10, 20, byte(from), byte(i)}))
	}
	return s
}

func TestCommitFitsTheWidestService(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, wide("a", 1))
	next := wide("a", 2)
	next.ModRevision = stored(t, s, "a").ModRevision
	_, err := s.Commit(t.Context(), cluster.Publish{Service: next})
	require.NoError(t, err)
	require.Equal(t, cluster.MaxFrontends, vips(keys(t, s)))
	_, err = s.Commit(t.Context(), cluster.Withdraw{Service: stored(t, s, "a")})
	require.NoError(t, err)
	require.Zero(t, vips(keys(t, s)))
}

func vips(keys map[string]string) (n int) {
	for key := range keys {
		if strings.HasPrefix(key, "ops/vips/") {
			n++
		}
	}
	return n
}

func TestCommitRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	large := svc("a", 1)
	large.Instances[0].Labels = map[string]string{"x": strings.Repeat("x", cluster.MaxFileBytes)}
	odd := svc("a", 1)
	odd.Balance = "sideways"
	slash := svc("a/b", 1)
	for _, service := range []*cluster.Service{large, odd, slash, wideBy101()} {
		_, err := s.Commit(t.Context(), cluster.Publish{Service: service})
		require.Error(t, err)
	}
	_, err := s.Commit(t.Context(), cluster.SetNodeAdmin{Node: "../config", Admin: &cluster.NodeAdmin{}})
	require.Error(t, err)
	_, err = s.Commit(t.Context(), nil)
	require.Error(t, err)
	require.Empty(t, keys(t, s))
}

func wideBy101() *cluster.Service {
	s := wide("a", 1)
	s.VIPs = append(s.VIPs, netip.MustParseAddr("10.20.9.9"))
	return s
}

func TestTwoPublishersOneVIP(t *testing.T) {
	t.Parallel()
	endpoint := server(t).Endpoint()
	a, b := open(t, endpoint), open(t, endpoint)
	for round := range 100 {
		var errs [2]error
		var both sync.WaitGroup
		for i, s := range []*Store{a, b} {
			both.Go(func() {
				_, errs[i] = s.Commit(context.Background(), cluster.Publish{Service: svc(fmt.Sprintf("r%d-%d", round, i), round)})
			})
		}
		both.Wait()
		var taken *cluster.TakenError
		require.True(t, errs[0] == nil != (errs[1] == nil), "%v", errs)
		require.True(t, errors.As(errors.Join(errs[:]...), &taken), "%v", errs)
	}
}

func TestCommitUnreachable(t *testing.T) {
	t.Parallel()
	s := open(t, "http://"+lab.Loopback().String())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := s.Commit(ctx, cluster.Publish{Service: svc("a", 1)})
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.Contains(t, err.Error(), "publish a: ")
	require.Contains(t, err.Error(), "check that it runs")
	_, err = s.Snapshot(ctx)
	require.ErrorIs(t, err, cluster.ErrUnreachable)
}

// The answers are lost: the transaction arrives, and nobody says so.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	e := server(t)
	deaf := forward(t, e.Endpoint())
	direct := open(t, e.Endpoint())
	s := open(t, deaf.endpoint(), e.Endpoint())
	s.members.at = 0
	lostAnswer(t, s, deaf, direct, cluster.Publish{Service: svc("a", 1)})
	lostAnswer(t, s, deaf, direct, cluster.SetConfig{Config: &cluster.Config{Paused: true}})
	lostAnswer(t, s, deaf, direct, cluster.Withdraw{Service: stored(t, direct, "a")})
}

// overdue is a context whose time is over when it is cancelled.
type overdue struct{ context.Context }

func (o overdue) Err() error {
	if o.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

// lostAnswer commits through a connection whose answers stop between planning and sending.
func lostAnswer(t *testing.T, s *Store, deaf proxy, direct *Store, change cluster.Change) {
	t.Helper()
	s.members.mu.Lock()
	s.members.at = 0
	old := s.members.now
	s.members.now = nil
	s.members.mu.Unlock()
	if old != nil {
		_ = old.client.Close()
	}
	ctx := t.Context()
	c := commit{store: s, change: change, doing: describe(change)}
	planned, err := s.plan(ctx, change)
	require.NoError(t, err)
	before, err := direct.Snapshot(ctx)
	require.NoError(t, err)
	deaf.Mute(lab.Answers, true)
	// What try does, with the plan made before the answers stopped.
	l, err := s.members.link()
	require.NoError(t, err)
	limited, cancel := context.WithCancel(ctx)
	var arriving sync.WaitGroup
	arriving.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			if now, err := direct.Snapshot(ctx); err != nil || now.Barrier > before.Barrier {
				return
			}
		}
	})
	_, err = l.client.Txn(overdue{limited}).If(planned.ifs...).Then(planned.then...).Commit()
	arriving.Wait()
	require.True(t, lost(err), "%v", err)
	c.pending = planned
	s.members.turn(l)
	revision, done, err := c.settle(ctx, err)
	deaf.Mute(lab.Answers, false)
	deaf.Cut()
	require.NoError(t, err)
	require.True(t, done)
	require.Greater(t, revision, before.Barrier)
	after, err := direct.Snapshot(ctx)
	require.NoError(t, err)
	require.Equal(t, after.Barrier, revision, "once, and told its revision")
}

// The whole way: answers stop at some moment of a commit that runs, and the other member finishes it.
func TestCommitGoesOnThroughAnotherMember(t *testing.T) {
	t.Parallel()
	e := server(t)
	deaf := forward(t, e.Endpoint())
	s := open(t, deaf.endpoint(), e.Endpoint())
	s.members.at = 0
	publish(t, s, svc("a", 1))
	deaf.Mute(lab.Answers, true)
	revision := publish(t, s, svc("b", 2))
	require.Equal(t, revision, stored(t, s, "b").ModRevision)
}

func TestCommitThatCannotBeSettledSaysSo(t *testing.T) {
	t.Parallel()
	e := server(t)
	p := forward(t, e.Endpoint())
	s := open(t, p.endpoint())
	planned, err := s.plan(t.Context(), cluster.Publish{Service: svc("a", 1)})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.NoError(t, p.Close())
	c := commit{store: s, change: cluster.Publish{Service: svc("a", 1)}, pending: planned}
	_, done, err := c.settle(ctx, context.DeadlineExceeded)
	require.True(t, done)
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.Contains(t, err.Error(), "not known whether")
}

// Many at once touch one service; each success is one write, and every answer is true.
func TestCommitUnderContention(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	first := publish(t, s, svc("a", 1))
	var wins sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			mine := svc("a", 1)
			mine.ModRevision = first
			mine.Instances[0].Labels = map[string]string{"i": fmt.Sprint(i)}
			if revision, err := s.Commit(t.Context(), cluster.Publish{Service: mine}); err == nil {
				wins.Store(revision, i)
			} else if !errors.Is(err, cluster.ErrConflict) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	wins.Range(func(revision, i any) bool {
		n++
		require.Equal(t, stored(t, s, "a").ModRevision, revision)
		require.Equal(t, fmt.Sprint(i), stored(t, s, "a").Instances[0].Labels["i"])
		return true
	})
	require.Equal(t, 1, n)
}

// The answers stop after the n-th of a commit, whichever that is: connecting, planning or sending. It goes on through
// the other member, and etcd's history has each change once.
func TestCommitHappensOnceWhereverTheAnswersStop(t *testing.T) {
	t.Parallel()
	e := server(t)
	for n := range 8 {
		t.Run(fmt.Sprint("after answer ", n), func(t *testing.T) {
			t.Parallel()
			deaf := forward(t, e.Endpoint())
			s := openAs(t, Config{Endpoints: []string{deaf.endpoint(), e.Endpoint()}, Prefix: fmt.Sprintf("/once/%d/", n)})
			s.members.at = 0
			deaf.MuteAfter(n + 1)
			first := publish(t, s, svc("a", 1))
			next := stored(t, s, "a")
			next.Balance = cluster.BalanceUniform
			second, err := s.Commit(t.Context(), cluster.Publish{Service: next})
			require.NoError(t, err)
			require.Greater(t, second, first)
			direct := open(t, e.Endpoint())
			r, err := raw(t, direct).Get(t.Context(), s.prefix+"net/services/a")
			require.NoError(t, err)
			require.Equal(t, int64(2), r.Kvs[0].Version, "written twice in all")
			require.Equal(t, []int64{first, second}, []int64{r.Kvs[0].CreateRevision, r.Kvs[0].ModRevision})
		})
	}
}

func TestPauseKeepsTheConfiguration(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	config := func() *cluster.Config {
		snapshot, err := s.Snapshot(t.Context())
		require.NoError(t, err)
		return snapshot.Config
	}
	commit := func(change cluster.Change) {
		_, err := s.Commit(t.Context(), change)
		require.NoError(t, err)
	}
	commit(cluster.SetPaused{Paused: true})
	require.Equal(t, &cluster.Config{Paused: true}, config())
	pools := []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}
	commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools}})
	require.False(t, config().Paused)
	commit(cluster.SetPaused{Paused: true})
	require.Equal(t, &cluster.Config{VIPPools: pools, Paused: true}, config())
	commit(cluster.SetConfig{Config: &cluster.Config{}, KeepPause: true})
	require.Equal(t, &cluster.Config{Paused: true}, config())
	commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools}, KeepPause: true})
	commit(cluster.SetPaused{})
	require.Equal(t, &cluster.Config{VIPPools: pools}, config())
	commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools, Paused: true}, KeepPause: true})
	require.Equal(t, &cluster.Config{VIPPools: pools}, config())
	_, err := raw(t, s).Put(t.Context(), s.prefix+"net/config", "{")
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), cluster.SetPaused{Paused: true})
	require.ErrorContains(t, err, "key net/config")
	commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools}, KeepPause: true})
	require.Equal(t, &cluster.Config{VIPPools: pools}, config(), "what cannot be read says nothing of a pause")
}
