package controlcenter_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// drained waits for a/x, taken out at revision 500, for a minute.
func drained(t *testing.T, f *storetest.Fake) (controlcenter.Remaining, []string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var seen []string
	r, err := controlcenter.Drained(ctx, f, controlcenter.Drain{Revision: 500, Service: "a", Instance: "x"}, func(r controlcenter.Remaining) {
		seen = append(seen, r.String())
	})
	return r, seen, err
}

// carries is what a node says that has counted.
func carries(revision int64, n int) cluster.Applied {
	return cluster.Applied{Revision: revision, FlowsRevision: revision, Flows: map[string]int{"a/x": n, "a/y": 7, "b/x": 7}}
}

func TestDrainedCountsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, carries(500, 2))
		f.Tell("n2", true, cluster.Applied{Revision: 501, FlowsRevision: 499})
		f.Tell("n3", true, cluster.Applied{Revision: 499, FlowsRevision: 499})
		go func() {
			time.Sleep(time.Second)
			f.Tell("n2", true, carries(501, 1))
			time.Sleep(time.Second)
			f.Tell("n3", true, cluster.Applied{Revision: 502, FlowsRevision: 502})
			time.Sleep(time.Second)
			f.Tell("n1", true, carries(500, 0))
			time.Sleep(time.Second)
			f.Tell("n2", true, cluster.Applied{Revision: 503, FlowsRevision: 503})
		}()
		r, seen, err := drained(t, f)
		require.NoError(t, err)
		require.Equal(t, controlcenter.Remaining{Took: 4 * time.Second}, r)
		require.Equal(t, []string{
			"2 live connections on n1 (2); not counted yet: n2, n3 (at revision 499)",
			"3 live connections on n1 (2), n2 (1); not counted yet: n3 (at revision 499)",
			"3 live connections on n1 (2), n2 (1)",
			"1 live connection on n2 (1)",
			"0 live connections",
		}, seen)
	})
}

func TestDrainedAtOnce(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", true, cluster.Applied{Revision: 500, FlowsRevision: 500})
	_, seen, err := drained(t, f)
	require.NoError(t, err)
	require.Equal(t, []string{"0 live connections"}, seen)
}

func TestDrainedTakesSilenceForNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, carries(500, 1))
		f.Tell("n2", true, cluster.Applied{Revision: 500})
		r, _, err := drained(t, f)
		require.ErrorIs(t, err, controlcenter.ErrRemaining)
		require.EqualError(t, err, "live connections remain: a/x is drained, and after 60.0 s: 1 live connection on n1 (1); not counted yet: n2 (its agent may be too old to count)")
		require.Equal(t, []controlcenter.NodeFlows{{Node: "n1", Connections: 1}}, r.Nodes)
	})
}

// A node whose agent is gone goes on carrying connections: it is waited for, as an agent that restarts comes back, and
// then named.
func TestDrainedKnowsNothingOfTheLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n0", false, carries(400, 5))
		f.Tell("n1", true, carries(500, 0))
		f.Tell("n2", true, carries(500, 3))
		time.AfterFunc(time.Second, func() { f.Tell("n2", false, carries(500, 3)) })
		start := time.Now()
		r, seen, err := drained(t, f)
		require.NoError(t, err)
		require.InDelta(t, 31, time.Since(start).Seconds(), 1.1)
		require.Equal(t, []string{"n0", "n2"}, r.Unreachable)
		require.Contains(t, seen, "0 live connections; not counted yet: n2 (lost its contact to etcd); out of reach: n0")
	})
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, carries(500, 3))
		time.AfterFunc(time.Second, func() { f.Tell("n1", false, carries(500, 3)) })
		time.AfterFunc(5*time.Second, func() { f.Tell("n1", true, carries(500, 0)) })
		start := time.Now()
		r, _, err := drained(t, f)
		require.NoError(t, err)
		require.Empty(t, r.Unreachable)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestDrainedAsksNobody(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", false, carries(500, 0))
	r, _, err := drained(t, f)
	require.EqualError(t, err, "a/x is drained, but no node is alive to say what it carries: see weir get nodes")
	require.Equal(t, []string{"n1"}, r.Unreachable)
}

func TestDrainedIsCutShort(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", true, carries(500, 1))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := controlcenter.Drained(ctx, f, controlcenter.Drain{Revision: 500, Service: "a", Instance: "x"}, func(controlcenter.Remaining) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, controlcenter.ErrRemaining)
	lost := errors.New("lost")
	f.Fail(lost)
	_, _, err = drained(t, f)
	require.ErrorIs(t, err, lost)
	require.EqualError(t, err, "a/x is drained, but waiting for its connections was cut short: lost")
	ctx, cancel = context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err = controlcenter.Drained(ctx, f, controlcenter.Drain{Revision: 500, Service: "a", Instance: "x"}, nil)
	require.ErrorContains(t, err, "a/x is drained, and the nodes could not be asked")
}
