package etcd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// reign is what a candidate sees of one leadership.
type reign struct {
	*Leadership
	ctx   context.Context
	leave func(error) // lets lead return
}

// stand lets a store stand for election until the returned function is called.
func stand(t *testing.T, s *Store, name string, ttl time.Duration) (reigns <-chan reign, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan reign)
	var running sync.WaitGroup
	running.Go(func() {
		err := s.Lead(ctx, Candidate{Name: name, TTL: ttl}, func(ctx context.Context, l *Leadership) error {
			left := make(chan error, 1)
			select {
			case out <- reign{l, ctx, func(err error) { left <- err }}:
			case <-ctx.Done():
				return nil
			}
			select {
			case err := <-left:
				return err
			case <-ctx.Done():
				return nil
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return out, stop
}

func next(t *testing.T, who string, reigns <-chan reign) reign {
	t.Helper()
	select {
	case r := <-reigns:
		return r
	case <-time.After(soon):
		t.Fatalf("%s does not lead in %s", who, soon)
		return reign{}
	}
}

func requireNobody(t *testing.T, reigns <-chan reign, d time.Duration) {
	t.Helper()
	select {
	case <-reigns:
		t.Fatal("a second leader beside the first")
	case <-time.After(d):
	}
}

// queued waits until so many lead or wait to.
func queued(t *testing.T, s *Store, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		n := 0
		for key := range keys(t, s) {
			if strings.HasPrefix(key, leaderKeys) {
				n++
			}
		}
		return n == want
	}, soon, 10*time.Millisecond)
}

func shares(n int) cluster.SetWeights {
	return cluster.SetWeights{Service: "a", Weights: &cluster.Weights{Share: map[string]int{"192.168.0.2:80": n}}}
}

func share(t *testing.T, s *Store) int {
	t.Helper()
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get("a")
	if in.Weights == nil {
		return 0
	}
	return in.Weights.Share["192.168.0.2:80"]
}

const long = time.Minute // a TTL that nobody waits for: what happens within the test was no expiry

func TestACleanStopHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	first, stop := stand(t, s, "cc1", long)
	one := next(t, "cc1", first)
	second, _ := stand(t, open(t, s.config.Endpoints...), "cc2", long)
	queued(t, s, 2)
	requireNobody(t, second, 200*time.Millisecond)
	_, err := one.Write(t.Context(), shares(3))
	require.NoError(t, err)
	begin := time.Now()
	stop()
	two := next(t, "cc2", second)
	t.Logf("taken over %s after the stop began", time.Since(begin).Round(time.Microsecond))
	_, err = one.Write(t.Context(), shares(4))
	require.ErrorIs(t, err, cluster.ErrNotLeading)
	require.Equal(t, 3, share(t, s))
	_, err = two.Write(t.Context(), shares(5), cluster.SetDown{Node: "n1", Down: &cluster.Down{Reason: "x"}})
	require.NoError(t, err)
	require.Equal(t, 5, share(t, s))
	require.Contains(t, keys(t, s), "net/down/n1")
	_, err = two.Write(t.Context(), cluster.SetWeights{Service: "a"}, cluster.SetDown{Node: "n1"})
	require.NoError(t, err)
	require.Zero(t, share(t, s))
	require.NotContains(t, keys(t, s), "net/down/n1")
}

// The leader is cut off and comes back: it was replaced meanwhile, and what it still wants to write is refused. Nothing
// but the comparison in etcd keeps it from doing so here: its write goes by a connection that works.
func TestAFormerLeaderChangesNothing(t *testing.T) {
	t.Parallel()
	e := server(t)
	direct := open(t, e.Endpoint())
	publish(t, direct, svc("a", 1))
	way := forward(t, e.Endpoint())
	cut := open(t, way.endpoint())
	first, _ := stand(t, cut, "cc1", 5*time.Second)
	one := next(t, "cc1", first)
	_, err := one.Write(t.Context(), shares(3))
	require.NoError(t, err)
	second, _ := stand(t, direct, "cc2", long)
	way.Freeze(true)
	begin := time.Now()
	two := next(t, "cc2", second)
	t.Logf("taken over %s after the silence began", time.Since(begin).Round(time.Millisecond))
	_, err = two.Write(t.Context(), shares(5))
	require.NoError(t, err)
	<-one.ctx.Done()
	require.ErrorIs(t, context.Cause(one.ctx), cluster.ErrNotLeading)
	way.Freeze(false)
	require.Eventually(t, func() bool {
		_, err = one.Write(t.Context(), shares(4))
		return !errors.Is(err, cluster.ErrUnreachable)
	}, soon, 50*time.Millisecond)
	require.ErrorIs(t, err, cluster.ErrNotLeading)
	require.Equal(t, 5, share(t, direct))
	require.NoError(t, two.ctx.Err())
	requireNobody(t, first, 300*time.Millisecond)
}

func TestALeaderLeavesAFrozenMember(t *testing.T) {
	t.Parallel()
	e := server(t)
	bad, good := forward(t, e.Endpoint()), forward(t, e.Endpoint())
	s := open(t, bad.endpoint(), good.endpoint())
	s.members.at = 0
	publish(t, open(t, e.Endpoint()), svc("a", 1))
	reigns, _ := stand(t, s, "cc1", 10*time.Second)
	one := next(t, "cc1", reigns)
	bad.Freeze(true)
	frozen := time.Now()
	require.Eventually(t, func() bool { return one.Answered().After(frozen) || one.ctx.Err() != nil }, soon, 10*time.Millisecond, "a beat through the next member")
	require.NoError(t, context.Cause(one.ctx), "the leadership was lost with the member")
	_, err := one.Write(t.Context(), shares(3))
	require.NoError(t, err)
}

func TestACandidateLeavesAFrozenMember(t *testing.T) {
	t.Parallel()
	e := server(t)
	direct := open(t, e.Endpoint())
	first, stop := stand(t, direct, "cc1", long)
	next(t, "cc1", first)
	bad, good := forward(t, e.Endpoint()), forward(t, e.Endpoint())
	s := open(t, bad.endpoint(), good.endpoint())
	s.members.at = 0
	second, _ := stand(t, s, "cc2", 5*time.Second)
	queued(t, direct, 2)
	bad.Freeze(true)
	stop()
	next(t, "cc2", second)
}

func TestALeaderThatReturnsGivesWay(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	first, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", first)
	second, stop := stand(t, open(t, s.config.Endpoints...), "cc2", long)
	queued(t, s, 2)
	one.leave(errors.New("it cannot do its work"))
	next(t, "cc2", second)
	stop()
	next(t, "cc1", first)
}

func TestALeaderWhoseLeaseIsRevokedStandsAgain(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	leases, err := raw(t, s).Leases(t.Context())
	require.NoError(t, err)
	_, err = raw(t, s).Revoke(t.Context(), leases.Leases[0].ID)
	require.NoError(t, err)
	two := next(t, "cc1", reigns)
	require.ErrorIs(t, context.Cause(one.ctx), cluster.ErrNotLeading)
	require.Greater(t, two.revision, one.revision)
}

func TestALeaderWhoseKeyIsDeletedLearnsItByWriting(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	_, err := raw(t, s).Delete(t.Context(), s.prefix+leaderKeys, clientv3.WithPrefix())
	require.NoError(t, err)
	_, err = one.Write(t.Context(), shares(3))
	require.ErrorIs(t, err, cluster.ErrNotLeading)
	require.Zero(t, share(t, s))
	require.Error(t, one.ctx.Err())
	next(t, "cc1", reigns)
}

func TestWhatALeaderMayNotWrite(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	for why, d := range map[string]cluster.Decision{
		"no name":           cluster.SetWeights{Service: "a/b", Weights: &cluster.Weights{}},
		"nobody reads this": cluster.SetWeights{Service: "a", Weights: &cluster.Weights{Share: map[string]int{"x": -1}}},
		"no node":           cluster.SetDown{Node: "../n1"},
		"no decision":       nil,
	} {
		_, err := one.Write(t.Context(), d)
		require.Error(t, err, why)
		require.NotErrorIs(t, err, cluster.ErrNotLeading, why)
	}
	_, err := one.Write(t.Context(), make([]cluster.Decision, maxOps)...)
	require.ErrorContains(t, err, "in parts")
	_, err = one.Write(t.Context(), shares(3)) // of a service that nobody published
	require.NoError(t, err)
	require.NotContains(t, keys(t, s), "net/weights/a")
	require.NoError(t, one.ctx.Err())
	require.Error(t, s.Lead(t.Context(), Candidate{Name: "a/b"}, nil))
}

func TestOnlyAControlCenterLeads(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	publish(t, as("weir-operator"), svc("a", 1))
	for _, user := range []string{"weir-operator", "weir-node-n1", "weir-viewer"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := as(user).Lead(ctx, Candidate{Name: "cc1"}, func(context.Context, *Leadership) error {
			t.Errorf("%s leads", user)
			return nil
		})
		cancel()
		require.NoError(t, err)
	}
	reigns, stop := stand(t, as("weir-controlcenter"), "cc1", long)
	one := next(t, "cc1", reigns)
	_, err := one.Write(t.Context(), shares(3), cluster.SetDown{Node: "n1", Down: &cluster.Down{Reason: "x"}})
	require.NoError(t, err)
	require.Equal(t, 3, share(t, as("weir-viewer")))
	stop()
	queued(t, as("root"), 0) // the lease is given back
}
