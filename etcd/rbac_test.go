package etcd

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// secured is an etcd with our roles, a user of the same name and password for each, and authentication on.
func secured(t *testing.T) (endpoint string, as func(user string) *Store) {
	t.Helper()
	endpoint = server(t).Endpoint()
	s := open(t, endpoint)
	c := raw(t, s)
	for _, r := range Roles("n1", "n2") {
		_, err := c.RoleAdd(t.Context(), r.Name)
		require.NoError(t, err)
		for _, g := range r.Grants {
			key, end, kind := s.prefix+g.Key, "", clientv3.PermissionType(clientv3.PermRead)
			if g.Prefix {
				end = clientv3.GetPrefixRangeEnd(key)
			}
			if g.Permission == ReadWrite {
				kind = clientv3.PermissionType(clientv3.PermReadWrite)
			}
			_, err = c.RoleGrantPermission(t.Context(), r.Name, key, end, kind)
			require.NoError(t, err)
		}
		addUser(t, c, r.Name)
	}
	addUser(t, c, "root")
	_, err := c.AuthEnable(t.Context())
	require.NoError(t, err)
	return endpoint, func(user string) *Store {
		return openAs(t, Config{Endpoints: []string{endpoint}, User: user, Password: user})
	}
}

func addUser(t *testing.T, c *clientv3.Client, name string) {
	t.Helper()
	_, err := c.UserAdd(t.Context(), name, name)
	require.NoError(t, err)
	if name == "root" {
		_, err = c.RoleAdd(t.Context(), "root")
		require.NoError(t, err)
	}
	_, err = c.UserGrantRole(t.Context(), name, name)
	require.NoError(t, err)
}

func TestANodeDoesItsWorkAndNothingElse(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	operator, n1 := as("weir-operator"), as("weir-node-n1")
	ctx := t.Context()
	w := watch(t, n1, WatchOptions{})
	publish(t, operator, svc("a", 1))
	w.until(t, "a", has("a"))
	root := raw(t, as("root"))
	_, err := root.Put(ctx, n1.prefix+"net/down/n1", "{}")
	require.NoError(t, err)
	require.NoError(t, n1.Join(ctx, "n1", &cluster.Node{Version: "1"}))
	require.NoError(t, n1.Applied(ctx, "n1", cluster.Applied{Revision: 1}))
	told := cluster.Repairs{Since: time.Unix(1, 0).UTC(), Count: 1, Newest: []cluster.Repair{{Cause: cluster.RepairNotice, What: "table deleted", Who: "nft (pid 7)"}}}
	require.NoError(t, n1.Repaired(ctx, "n1", told))
	require.ErrorIs(t, n1.Repaired(ctx, "n2", told), cluster.ErrDenied)
	for _, user := range []string{"weir-operator", "weir-viewer"} {
		repairs, err := as(user).Repairs(ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]cluster.Repairs{"n1": told}, repairs, user)
	}
	_, err = n1.Repairs(ctx)
	require.ErrorIs(t, err, cluster.ErrDenied, "those of others")
	alive(t, n1, "n1")
	require.Contains(t, presentAs(t, operator, map[string]bool{"n1": true}), "n1")
	require.NotContains(t, keys(t, as("root")), "net/down/n1")

	c := raw(t, n1)
	for _, key := range []string{"net/instances/n1/a/x", "net/health/n1", "ops/status/n1/x", "ops/wake/a"} {
		_, err := c.Put(ctx, n1.prefix+key, "{}")
		require.NoError(t, err, key)
	}
	for _, key := range []string{
		"net/services/a", "net/services/new", "net/instances/n2/a/x", "net/instances/n1", "net/health/n2", "net/nodes/n2", "net/nodes/n11",
		"net/down/n2", "net/admin/a/x", "net/admin-node/n1", "net/weights/a", "net/config", "net/ready", "net/barrier", "net/guard",
		"ops/alive/n2", "ops/applied/n2", "ops/repairs/n2", "ops/repairs/n11", "ops/loadmons/n2", "ops/loadmons/n11", "ops/status/n2/x", "ops/assign/n1/x", "ops/vips/10.0.0.1/tcp/80", "ops/secret", "ops/digest", "ops/leader/x",
	} {
		_, err := c.Put(ctx, n1.prefix+key, "{}")
		require.ErrorIs(t, explain("put", err), cluster.ErrDenied, key)
		_, err = c.Delete(ctx, n1.prefix+key)
		require.ErrorIs(t, explain("delete", err), cluster.ErrDenied, key)
	}
	for _, change := range []cluster.Change{
		cluster.Publish{Service: svc("b", 2)}, cluster.Withdraw{Service: stored(t, operator, "a")}, cluster.AcceptHeld{Revision: 1},
		cluster.SetConfig{}, cluster.SetNodeAdmin{Node: "n2", Admin: &cluster.NodeAdmin{Drain: true}},
	} {
		_, err := n1.Commit(ctx, change)
		require.ErrorIs(t, err, cluster.ErrDenied, "%T", change)
	}
	require.ErrorIs(t, n1.Join(ctx, "n2", &cluster.Node{}), cluster.ErrDenied)
	require.ErrorIs(t, n1.Applied(ctx, "n2", cluster.Applied{}), cluster.ErrDenied)
	err = n1.WatchApplied(ctx, func(map[string]bool, map[string]cluster.Applied) bool { return true })
	require.ErrorIs(t, err, cluster.ErrDenied, "at once: asking again would not help")
	require.NoError(t, ctx.Err())
	require.True(t, has("a")(w.snapshot()))
}

func TestAViewerOnlyLooks(t *testing.T) {
	t.Parallel()
	endpoint, as := secured(t)
	operator, viewer := as("weir-operator"), as("weir-viewer")
	publish(t, operator, svc("a", 1))
	_, err := viewer.Snapshot(t.Context())
	require.NoError(t, err)
	presentAs(t, viewer, map[string]bool{})
	_, err = viewer.Commit(t.Context(), cluster.Publish{Service: svc("b", 2)})
	require.ErrorIs(t, err, cluster.ErrDenied)
	require.Contains(t, err.Error(), "weir rbac")
	_, err = raw(t, viewer).Get(t.Context(), viewer.prefix+"ops/secret")
	require.ErrorIs(t, explain("get", err), cluster.ErrDenied)

	for _, c := range []Config{{User: "weir-viewer", Password: "wrong"}, {User: "nobody", Password: "x"}, {}} {
		c.Endpoints = []string{endpoint}
		_, err := openAs(t, c).Snapshot(t.Context())
		require.ErrorIs(t, err, cluster.ErrDenied, "%+v", c)
	}
}

func TestRightsTakenAwayWhileRunning(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	n1 := as("weir-node-n1")
	operator := as("weir-operator")
	publish(t, operator, svc("a", 1))
	w := watch(t, n1, WatchOptions{Probe: 100 * time.Millisecond, Check: 200 * time.Millisecond})
	alive(t, n1, "n1") // its beats go on: a lease needs no right
	w.until(t, "a", has("a"))
	root := raw(t, as("root"))
	_, err := root.UserRevokeRole(t.Context(), "weir-node-n1", "weir-node-n1")
	require.NoError(t, err)
	_, err = n1.Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrDenied)
	require.Eventually(t, func() bool { // a member that is slow to answer may be told first
		st := n1.Status()
		return !st.Connected && strings.Contains(st.LastError, "weir rbac")
	}, soon, 10*time.Millisecond)
	require.True(t, has("a")(w.snapshot()), "what is known stays")

	publish(t, operator, svc("b", 2))
	_, err = root.UserGrantRole(t.Context(), "weir-node-n1", "weir-node-n1")
	require.NoError(t, err)
	w.until(t, "b", has("b"))
	require.Eventually(t, func() bool { return n1.Status().Connected }, soon, 10*time.Millisecond)
}

// The printed commands are what an operator runs: they must be right for the etcdctl of Debian 12, too.
func TestPrintedRolesWork(t *testing.T) {
	t.Parallel()
	etcdctl, err := exec.LookPath("etcdctl")
	if err != nil {
		t.Skip("etcdctl is not installed")
	}
	s := open(t, server(t).Endpoint())
	script, err := s.RBAC("n1")
	require.NoError(t, err)
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "etcdctl" || words[1] == "auth" {
			continue
		}
		c := exec.CommandContext(t.Context(), etcdctl, words[1:]...)
		c.Env = []string{"ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=" + s.config.Endpoints[0], "ETCDCTL_DIAL_TIMEOUT=20s", "ETCDCTL_COMMAND_TIMEOUT=20s"}
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s: %s", line, out)
	}
	_, err = s.RBAC("n1; rm -rf /")
	require.Error(t, err)
}
