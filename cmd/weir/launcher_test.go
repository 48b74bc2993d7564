package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher/allow"
)

func TestLauncherRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open.yaml")
	require.NoError(t, os.WriteFile(open, []byte("drivers: [process]\n"), 0o666))
	require.NoError(t, os.Chmod(open, 0o666))
	hook := filepath.Join(dir, "hook.yaml")
	require.NoError(t, os.WriteFile(hook, []byte("drivers: [hook]\nservices: [a]\n"), 0o600))
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--node", "N 1"}, 2, "--node: name"},
		{[]string{"--node-ip", "here"}, 2, `--node-ip "here": want an address`},
		{[]string{"--ports", "5"}, 2, `--ports: "5" is no range of ports`},
		{[]string{"--memory", "much"}, 2, `--memory: "much" is not an amount of memory`},
		{[]string{"--cpus", "-1"}, 2, "--cpus -1 is negative"},
		{[]string{"--etcd", "http://127.0.0.1:2379"}, 3, "does not ask who writes there"},
		{[]string{"--etcd", "https://192.0.2.1:2379", "--insecure-etcd"}, 3, "only for an etcd on loopback --insecure-etcd permits it"},
		{[]string{"--insecure-etcd", "--list", filepath.Join(dir, "none", "none.yaml")}, 3, "none.yaml: file does not exist: its owner writes there what may be launched on this node: drivers, users, paths, services"},
		{[]string{"--insecure-etcd", "--list", open}, 3, "chmod go-w"},
		{[]string{"--insecure-etcd", "--list", hook, "--node-ip", "192.0.2.1", "--state-dir", dir}, 2, "allows driver hook: give --hook"},
		{[]string{"--insecure-etcd", "--list", hook, "--node-ip", "192.0.2.1", "--state-dir", dir, "--hook", "x"}, 1, `"x" is not an absolute path`},
		{[]string{"--insecure-etcd", "--list", hook, "--node-ip", "192.0.2.1", "--state-dir", dir, "--hook", "/x", "--hook-token-file", dir + "/none"}, 1, "read the token of the hook"},
	} {
		r := weir(t, newFake(), append([]string{"launcher"}, test.args...)...)
		require.Equal(t, test.code, r.code, r.err)
		require.Contains(t, r.err, test.says)
	}
}

// With an etcd of its own host a launcher has --insecure-etcd for want of users there: what instances write is not open to the
// network for that.
func TestWhereLogsAreAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		endpoint, listen, want string
	}{
		{"http://127.0.0.1:2379", "", "127.0.0.1:9651"},
		{"unix:///run/etcd", "", "127.0.0.1:9651"},
		{"http://127.0.0.1:2379", ":9651", "[::]:9651"},
		{"http://192.0.2.1:2379", "", "[::]:9651"},
	} {
		p, err := (&launcherDoors{logs: test.listen}).place(etcdFlags{endpoints: []string{test.endpoint}, insecure: true})
		require.NoError(t, err)
		require.Equal(t, test.want, p.address.String(), test)
	}
}

func TestScaleArguments(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"give a number, or --auto":         {"scale", "a"},
		`"many" is no number of instances`: {"scale", "a", "many"},
		`"5" is an argument too many`:      {"scale", "a", "5", "--auto"},
	} {
		r := weir(t, newFake(), args...)
		require.Equal(t, 2, r.code)
		require.Contains(t, r.err, says)
	}
}

// stalled is a store that says nothing of launched instances.
type stalled struct{ *fake }

func (stalled) Operations(ctx context.Context) (*cluster.Operations, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestOperationsAreNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"scale a 5", "node forget n2", "logs a", "get problems", "status"} {
		a := newApp(nil, io.Discard, io.Discard)
		a.open = func(context.Context, etcdFlags) (store, error) { return stalled{cast(t)}, nil }
		require.Equal(t, 6, a.execute(t.Context(), append(strings.Fields("weir --timeout 100ms"), strings.Fields(line)...)), line)
	}
}

// What the hook notes is no instance of the other driver, in whatever order they are named.
func TestDriversShareAStateDirectory(t *testing.T) {
	t.Parallel()
	for _, drivers := range [][]string{{"hook", "process"}, {"process", "hook"}} {
		o := &launcherOptions{node: "n1", stateDir: filepath.Join(t.TempDir(), "state"), hook: "/bin/false", hookTimeout: time.Second, list: "list"}
		h, err := o.hands(&allow.List{Drivers: drivers})
		require.NoError(t, err)
		t.Cleanup(h.close)
		statuses, err := h.drivers["process"].List(t.Context())
		require.NoError(t, err)
		require.Empty(t, statuses)
	}
}
