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

func wait(t *testing.T, f *storetest.Fake) (controlcenter.Progress, []string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var seen []string
	p, err := controlcenter.Wait(ctx, f, controlcenter.Awaited{Revision: 500, Services: []string{"a"}}, func(p controlcenter.Progress) {
		seen = append(seen, p.String())
	})
	return p, seen, err
}

func at(revision int64, problems ...cluster.Problem) cluster.Applied {
	return cluster.Applied{Revision: revision, Problems: problems}
}

func TestWaitForAllNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, at(500))
		f.Tell("n2", true, at(499))
		f.Tell("n3", true, at(12))
		f.Tell("n4", false, at(1))
		go func() {
			time.Sleep(20 * time.Millisecond)
			f.Tell("n3", true, at(501))
			time.Sleep(21 * time.Millisecond)
			f.Tell("n2", true, at(500))
		}()
		p, seen, err := wait(t, f)
		require.NoError(t, err)
		require.Equal(t, "applied on 3/3 nodes in 41 ms, slowest n2", p.String())
		require.Equal(t, []string{
			"applied on 1/3 nodes in 0 ms; waiting for n2 (at revision 499), n3 (at revision 12)",
			"applied on 2/3 nodes in 20 ms; waiting for n2 (at revision 499)",
			"applied on 3/3 nodes in 41 ms, slowest n2",
		}, seen)
	})
}

func TestWaitForNobodyIsAFailure(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", false, at(500))
	_, _, err := wait(t, f)
	require.EqualError(t, err, "revision 500 is written, but no node is alive to apply it: start weir agent on the nodes")
	require.NotErrorIs(t, err, controlcenter.ErrTimeout)
}

func TestWaitTimesOutAndSaysWhoIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, at(500))
		f.Tell("n2", true, at(499))
		f.Tell("n3", true, cluster.Applied{})
		_, _, err := wait(t, f)
		require.ErrorIs(t, err, controlcenter.ErrTimeout)
		require.EqualError(t, err, "timed out: revision 500 is written, and applied on 1/3 nodes in 30.0 s; waiting for n2 (at revision 499), n3 (at revision 0)")
	})
}

func TestWaitDoesNotWaitForANodeThatDied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, at(500))
		f.Tell("n2", true, at(499))
		time.AfterFunc(time.Second, func() { f.Tell("n2", false, at(499)) })
		p, _, err := wait(t, f)
		require.NoError(t, err)
		require.Equal(t, 1, p.Live)
	})
}

func TestWaitFailsWhenAKernelRefusesTheService(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", true, at(500, cluster.Problem{Object: "service b", What: "not ours"}, cluster.Problem{Object: "node n1", What: "not ours"}))
	_, _, err := wait(t, f)
	require.NoError(t, err, "problems of others do not count")
	panics := cluster.Problem{Object: "service a", What: "all fail their checks"}
	f.Tell("n1", true, at(500, panics))
	f.Tell("n2", true, at(500, panics))
	p, _, err := wait(t, f)
	require.NoError(t, err, "the nodes did what can be done")
	require.Equal(t, []string{panics.Error()}, p.Warnings(), "told once")
	refused := at(500, cluster.Problem{Object: "service a", What: "the kernel rejects it"})
	refused.Refused = []string{"a"}
	f.Tell("n2", true, refused)
	p, _, err = wait(t, f)
	require.EqualError(t, err, "revision 500 is written, but the kernels of 1 nodes refuse it, so they keep what they had:\nnode n2: service a: the kernel rejects it")
	require.Equal(t, []string{"n2"}, p.Refused)
}

func TestWaitSaysWhoHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.New()
		f.Tell("n1", true, at(499))
		f.Hold(cluster.Held{Revision: 500, Deleted: 12, Reason: "no net/ready"})
		_, _, err := wait(t, f)
		require.ErrorIs(t, err, controlcenter.ErrTimeout)
		require.ErrorContains(t, err, "n1 (holds deletions back: see weir guard)")
	})
}

func TestWaitIsCutShort(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Tell("n1", true, at(1))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := controlcenter.Wait(ctx, f, controlcenter.Awaited{Revision: 500}, func(controlcenter.Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, controlcenter.ErrTimeout)
	lost := errors.New("lost")
	f.Fail(lost)
	_, err = controlcenter.Wait(t.Context(), f, controlcenter.Awaited{Revision: 500}, nil)
	require.ErrorIs(t, err, lost)
	require.ErrorContains(t, err, "revision 500 is written")
}
