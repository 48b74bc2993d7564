package etcd

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// The server that Debian 12 ships, 3.4: another watch and transaction code than the one we embed.
func TestTheEtcdOfTheDistribution(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	client, peer := "http://"+lab.Loopback().String(), "http://"+lab.Loopback().String()
	c := exec.Command(binary, "--data-dir", t.TempDir(), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })

	s := open(t, client)
	w := watch(t, s, quick)
	w.until(t, "the first list", func(*cluster.Snapshot) bool { return true })
	revision := publish(t, s, wide("a", 1))
	d := diagnose(t, s)
	require.True(t, strings.HasPrefix(d.Endpoints[0].Version, "3."), d.Endpoints[0].Version)
	require.NoError(t, d.Access.Err)
	require.NoError(t, d.HistoryErr)
	require.False(t, d.Access.Enabled)
	require.Equal(t, revision, w.until(t, "a", has("a")).Revision)
	wider := wide("a", 2)
	wider.ModRevision = revision
	_, err = s.Commit(t.Context(), cluster.Publish{Service: wider})
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), cluster.Publish{Service: wide("b", 2)})
	require.ErrorIs(t, err, cluster.ErrConflict)
	alive(t, s, "n1")
	presentAs(t, s, map[string]bool{"n1": true})
	reigns, resign := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	_, err = one.Write(t.Context(), shares(3), happening("a", "x"))
	require.NoError(t, err)
	require.Equal(t, []string{"a x"}, hear(t, told(t, s, "a")))
	resign()
	_, err = one.Write(t.Context(), shares(4))
	require.ErrorIs(t, err, cluster.ErrNotLeading)
	require.Equal(t, 3, share(t, s))
	_, err = s.Commit(t.Context(), cluster.Withdraw{Service: stored(t, s, "a")})
	require.NoError(t, err)
	w.until(t, "a leaves", lacks("a"))
	require.Zero(t, vips(keys(t, s)))

	root := openAs(t, Config{Endpoints: []string{client}, User: "root", Password: "root"})
	authenticates(t, false, s, root)
	addUser(t, raw(t, s), "root")
	_, err = raw(t, s).AuthEnable(t.Context())
	require.NoError(t, err)
	authenticates(t, true, s, root)
}
