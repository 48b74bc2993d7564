package etcd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// The agent that comes back takes back that its node is down, once. A leader that is a moment late must not say it again,
// nor write what belongs to it.
func TestANodeThatIsAliveIsNotDeclaredDown(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	leaders, _ := stand(t, s, "cc1", long)
	leader := next(t, "cc1", leaders)
	alive(t, s, "n1")
	presentAs(t, s, map[string]bool{"n1": true})
	down := &cluster.Down{Reason: "silent"}
	event := cluster.Event{Service: "a", What: cluster.EventNodeDown, Reason: "node n1"}

	_, err := leader.Write(t.Context(), cluster.SetDown{Node: "n1", Down: down}, event, shares(3))
	require.ErrorIs(t, err, cluster.ErrAlive)
	require.NotContains(t, keys(t, s), "net/down/n1")
	require.Zero(t, share(t, s), "all or nothing")
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	require.Empty(t, events)
	_, err = s.Commit(t.Context(), cluster.SetDown{Node: "n1", Down: down})
	require.ErrorIs(t, err, cluster.ErrAlive, "nor by an operator")
	require.ErrorIs(t, err, cluster.ErrConflict)

	_, err = leader.Write(t.Context(), cluster.SetDown{Node: "n2", Down: down}, event, shares(3))
	require.NoError(t, err, "it leads still")
	require.Equal(t, 3, share(t, s))
	events, err = s.Events(t.Context(), "a")
	require.NoError(t, err)
	require.Len(t, events, 1)
	_, err = s.Commit(t.Context(), cluster.SetDown{Node: "n3", Down: down})
	require.NoError(t, err)
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]*cluster.Down{"n2": down, "n3": down}, snapshot.Down)
	_, err = s.Commit(t.Context(), cluster.SetDown{Node: "n3"})
	require.NoError(t, err)
	require.NotContains(t, keys(t, s), "net/down/n3")
}

func TestGone(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	leaders, _ := stand(t, s, "cc1", long)
	leader := next(t, "cc1", leaders)
	require.Less(t, time.Since(leader.Answered()), soon)
	want := cluster.Gone{State: cluster.Unwatched, Reason: "n2 reaches it", Since: time.Unix(7, 0).UTC()}
	_, err := leader.Write(t.Context(), cluster.SetGone{Node: "n1", Gone: &want})
	require.NoError(t, err)
	_, err = raw(t, s).Put(t.Context(), s.prefix+"ops/gone/n2", "nonsense")
	require.NoError(t, err)
	got, err := s.Gone(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]cluster.Gone{"n1": want}, got)
	_, err = leader.Write(t.Context(), cluster.SetGone{Node: "n1"})
	require.NoError(t, err)
	require.NotContains(t, keys(t, s), "ops/gone/n1")
	_, err = leader.Write(t.Context(), cluster.SetGone{Node: "a/b", Gone: &want})
	require.Error(t, err)
}

// The beats go on while nothing is written.
func TestALeadershipTellsWhenEtcdAnswered(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	leaders, _ := stand(t, s, "cc1", long)
	leader := next(t, "cc1", leaders)
	for range 2 { // also with a lease so long that it could be renewed much less often
		before := leader.Answered()
		require.Eventually(t, func() bool { return leader.Answered().After(before) }, soon, 10*time.Millisecond)
	}
}

func TestForgetANode(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	operator, root := as("weir-operator"), raw(t, as("root"))
	publish(t, operator, svc("a", 1))
	require.NoError(t, as("weir-node-n1").Join(t.Context(), "n1", &cluster.Node{Version: "1"}))
	said := []string{
		"net/instances/n1/a/x", "net/health/n1", "net/down/n1", "net/admin-node/n1", "ops/applied/n1", "ops/repairs/n1", "ops/gone/n1", "ops/status/n1/a-1",
	}
	others := []string{"net/instances/n11/a/x", "net/health/n11", "net/down/n11", "ops/status/n11/a-1", "net/services/a"}
	for _, key := range append(said, others[:4]...) {
		value := "{}"
		if strings.Contains(key, "instances") {
			value = `{"address":"192.168.10.7:80"}`
		}
		_, err := root.Put(t.Context(), operator.prefix+key, value)
		require.NoError(t, err)
	}
	_, err := root.Put(t.Context(), operator.prefix+"ops/alive/n1", "{}")
	require.NoError(t, err)
	_, err = operator.Commit(t.Context(), cluster.ForgetNode{Node: "n1"})
	require.ErrorIs(t, err, cluster.ErrAlive)
	for _, key := range said {
		require.Contains(t, keys(t, as("root")), key)
	}
	_, err = operator.Commit(t.Context(), cluster.ForgetNode{Node: "n1", Alive: true})
	require.NoError(t, err)
	left := keys(t, as("root"))
	for _, key := range append(said, "net/nodes/n1") {
		require.NotContains(t, left, key)
	}
	for _, key := range others {
		require.Contains(t, left, key)
	}
	_, err = root.Put(t.Context(), operator.prefix+"ops/launchers/n11", "{}")
	require.NoError(t, err)
	_, err = operator.Commit(t.Context(), cluster.ForgetNode{Node: "n11"})
	require.ErrorIs(t, err, cluster.ErrLaunching)
	require.ErrorIs(t, err, cluster.ErrConflict)
	require.Subset(t, keys(t, as("root")), others)
	_, err = operator.Commit(t.Context(), cluster.ForgetNode{Node: "n11", Alive: true})
	require.NoError(t, err)
	require.NotContains(t, keys(t, as("root")), "net/instances/n11/a/x")
	require.Contains(t, keys(t, as("root")), "ops/status/n11/a-1", "its launcher would not tell it again")
	_, err = as("weir-viewer").Commit(t.Context(), cluster.ForgetNode{Node: "n12"})
	require.ErrorIs(t, err, cluster.ErrDenied)
	_, err = operator.Commit(t.Context(), cluster.ForgetNode{Node: "a/b"})
	require.Error(t, err)
	_, err = operator.Commit(t.Context(), cluster.SetDown{Node: "a/b", Down: &cluster.Down{}})
	require.Error(t, err)
}
