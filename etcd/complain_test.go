package etcd

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

const complaintsOfN1 = "ops/loadmons/n1"

// toldBy is a key as etcd holds it; all zero: it is not there.
func toldBy(t *testing.T, s *Store, key string) (value string, lease clientv3.LeaseID, modified int64) {
	t.Helper()
	r, err := raw(t, s).Get(t.Context(), s.prefix+key)
	require.NoError(t, err)
	if len(r.Kvs) == 0 {
		return "", clientv3.NoLease, 0
	}
	return string(r.Kvs[0].Value), clientv3.LeaseID(r.Kvs[0].Lease), r.Kvs[0].ModRevision
}

func complaint(what string) cluster.Loadmon {
	return cluster.Complaining([]cluster.Problem{{Object: "service a", What: what}})
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	c := s.Complainer("n1")
	tell := func(c *Complainer, l cluster.Loadmon) (wrote bool) {
		t.Helper()
		wrote, err := c.Tell(t.Context(), l)
		require.NoError(t, err)
		return wrote
	}
	require.False(t, tell(c, cluster.Loadmon{}), "nothing is said, and nothing is to say")
	require.Equal(t, clientv3.LeaseID(clientv3.NoLease), c.lease, "so nothing is kept either")

	require.True(t, tell(c, complaint("one")))
	_, lease, modified := toldBy(t, s, complaintsOfN1)
	require.NotZero(t, lease, "it goes with who said it")
	said, err := s.Loadmons(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]cluster.Loadmon{"n1": complaint("one")}, said)
	require.False(t, tell(c, complaint("one")))
	_, same, unmodified := toldBy(t, s, complaintsOfN1)
	require.Equal(t, []any{lease, modified}, []any{same, unmodified}, "the same is not written again")
	require.True(t, tell(c, complaint("two")))
	value, same, _ := toldBy(t, s, complaintsOfN1)
	require.Equal(t, `{"problems":[{"object":"service a","what":"two"}]}`, value)
	require.Equal(t, lease, same)

	// Etcd was wiped, or the process stood still for longer than the lease lives.
	_, err = raw(t, s).Revoke(t.Context(), lease)
	require.NoError(t, err)
	require.Empty(t, keys(t, s))
	require.True(t, tell(c, complaint("two")))
	_, another, _ := toldBy(t, s, complaintsOfN1)
	require.NotEqual(t, lease, another)

	// A process after this one takes over what it said, and then the lease of this one is nothing to it.
	next := s.Complainer("n1")
	require.True(t, tell(next, complaint("two")))
	_, err = raw(t, s).Revoke(t.Context(), another)
	require.NoError(t, err)
	value, _, _ = toldBy(t, s, complaintsOfN1)
	require.Contains(t, value, "two")

	// Taken back, by what is so and by the end.
	require.True(t, tell(next, cluster.Loadmon{}))
	require.Empty(t, keys(t, s))
	require.True(t, tell(next, complaint("three")))
	next.End()
	require.Empty(t, keys(t, s))
	next.End()
	require.True(t, tell(next, complaint("four")))
	require.True(t, tell(s.Complainer("n1"), cluster.Loadmon{}), "of one that was killed")
	require.Empty(t, keys(t, s))

	_, err = s.Complainer("../n1").Tell(t.Context(), complaint("one"))
	require.ErrorContains(t, err, "want ops/loadmons/NODE")
}

// TestComplaintsAreRenewed asks the lease itself: between two words it gets shorter, and with each it has its whole time again.
func TestComplaintsAreRenewed(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	c := s.Complainer("n1")
	_, err := c.Tell(t.Context(), complaint("one"))
	require.NoError(t, err)
	left := func() int64 {
		r, err := raw(t, s).TimeToLive(t.Context(), c.lease)
		require.NoError(t, err)
		return r.TTL
	}
	whole := int64(ComplaintTTL.Seconds())
	require.Eventually(t, func() bool { return left() < whole-1 }, soon, 50*time.Millisecond)
	before := left()
	require.Eventually(t, func() bool {
		wrote, err := c.Tell(t.Context(), complaint("one"))
		require.NoError(t, err)
		require.False(t, wrote)
		return left() > before
	}, soon, 50*time.Millisecond)
}

// Each node tells its own, and who looks sees all of them. What cannot be read, or a newer version added, takes nothing from the
// rest; what no watch of today reads does not stop it.
func TestWhoMayTellAndReadComplaints(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	n1, root := as("weir-node-n1"), as("root")
	o := watchOperations(t, as("weir-controlcenter"))
	c := n1.Complainer("n1")
	for _, l := range []cluster.Loadmon{{}, complaint("one"), complaint("one"), {}, complaint("two")} {
		_, err := c.Tell(t.Context(), l)
		require.NoError(t, err)
	}
	_, err := n1.Complainer("n2").Tell(t.Context(), complaint("one"))
	require.ErrorIs(t, err, cluster.ErrDenied)
	_, err = n1.Loadmons(t.Context())
	require.ErrorIs(t, err, cluster.ErrDenied, "those of others")
	for key, value := range map[string]string{"n2": "nonsense", "n3": `{"problems":[{"object":"service b","what":"x","colour":"red"}],"mood":"bad"}`} {
		_, err = raw(t, root).Put(t.Context(), root.prefix+"ops/loadmons/"+key, value)
		require.NoError(t, err)
	}
	for _, user := range []string{"weir-viewer", "weir-operator", "weir-controlcenter"} {
		said, err := as(user).Loadmons(t.Context())
		require.NoError(t, err, user)
		require.Equal(t, map[string]cluster.Loadmon{"n1": complaint("two"), "n3": cluster.Complaining([]cluster.Problem{{Object: "service b", What: "x"}})}, said, user)
		_, err = as(user).Complainer("n1").Tell(t.Context(), cluster.Loadmon{})
		require.Equal(t, user != "weir-controlcenter", err != nil, user)
		_, err = c.Tell(t.Context(), complaint("two"))
		require.NoError(t, err)
	}
	stop := during(t, func(ctx context.Context) error {
		return n1.Launching(ctx, "n1", cluster.Launcher{Ports: cluster.PortRange{From: 1, To: 2}})
	})
	told := o.until("what is written after it", func(o *cluster.Operations) bool { return len(o.Launchers) == 1 })
	require.Empty(t, told.Problems)
	stop()
	c.End()
	require.NotContains(t, keys(t, root), complaintsOfN1)
}
