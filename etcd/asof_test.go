package etcd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// What was decided before somebody said something else is not written.
func TestDecisionsAreOfWhatIsSo(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	asOf := func() cluster.AsOf {
		snapshot, err := s.Snapshot(t.Context())
		require.NoError(t, err)
		ops, err := s.Operations(t.Context())
		require.NoError(t, err)
		return cluster.AsOf{Config: snapshot.Configured, Scaled: ops.Revision}
	}
	say := func(word cluster.Change) {
		t.Helper()
		_, err := s.Commit(t.Context(), word)
		require.NoError(t, err)
	}
	first := asOf()
	require.Zero(t, first.Config)
	_, err := one.Write(t.Context(), shares(2), first)
	require.NoError(t, err, "nobody said anything yet")
	for i, said := range []cluster.Change{
		cluster.SetPaused{Paused: true}, cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 1}}, cluster.SetPaused{},
	} {
		before := asOf()
		say(said)
		_, err := one.Write(t.Context(), shares(10+i), before)
		require.ErrorIs(t, err, cluster.ErrStale, "%T", said)
		require.NotEqual(t, 10+i, share(t, s))
		_, err = one.Write(t.Context(), shares(20+i), asOf())
		require.NoError(t, err, "%T", said)
		require.Equal(t, 20+i, share(t, s))
	}
	read := asOf()
	say(cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 2}})
	_, err = one.Write(t.Context(), shares(40), cluster.AsOf{Config: read.Config})
	require.NoError(t, err, "numbers do not matter to it")
	say(cluster.SetPaused{Paused: true})
	down := cluster.SetDown{Node: "n1", Down: &cluster.Down{Reason: "it is dead", Since: time.Now()}}
	for _, d := range []cluster.Decision{shares(50), down} {
		_, err = one.Write(t.Context(), d, cluster.AsOf{Config: read.Config})
		require.ErrorIs(t, err, cluster.ErrStale, "%T", d)
	}
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.Empty(t, snapshot.Down)
	require.Equal(t, 40, share(t, s))
	say(down)
	snapshot, err = s.Snapshot(t.Context())
	require.NoError(t, err)
	require.Contains(t, snapshot.Down, "n1", "by an operator, whom no pause stops")
	_, err = raw(t, s).Put(t.Context(), s.prefix+"net/config", "{")
	require.NoError(t, err)
	_, err = one.Write(t.Context(), shares(30), asOf())
	require.NoError(t, err, "one that cannot be read stops nobody")
}
