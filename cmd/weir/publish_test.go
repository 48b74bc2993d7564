package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

var publishA = []string{"controlcenter", "publish", "a", "--vip", "10.10.1.128:8080", "--instance", "192.168.10.100:80", "--instance", "192.168.10.101:80=2"}

func TestPublish(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Follow("n1", "n2")
	r := weir(t, f, publishA...)
	require.Equal(t, 0, r.code, r.err)
	require.Empty(t, r.out, "talk goes to standard error")
	require.Contains(t, r.err, "service a is created\n  + service a\n")
	require.Contains(t, r.err, "+ instance 192.168.10.101:80: 192.168.10.101:80, weight 2")
	require.Contains(t, r.err, "applied on 2/2 nodes in ")
	require.Equal(t, 1, f.closed)

	r = weir(t, f, publishA...)
	require.Equal(t, 0, r.code)
	require.Contains(t, r.err, "service a is already as wanted")
	require.Equal(t, 1, f.Writes())
}

func TestPublishOutput(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Follow("n1")
	r := weir(t, f, append(publishA, "-o", "json")...)
	var out outcome
	require.NoError(t, json.Unmarshal([]byte(r.out), &out), r.out)
	require.Equal(t, []any{int64(102), 1, "a"}, []any{out.Revision, out.Nodes.Applied, out.Plans[0].Name})
	r = weir(t, f, append(publishA, "-o", "name")...)
	require.Equal(t, "service/a\n", r.out)
}

func TestPublishDryRunAndPlanWriteNothing(t *testing.T) {
	t.Parallel()
	f := newFake()
	r := weir(t, f, append(publishA, "--dry-run")...)
	require.Equal(t, 0, r.code)
	require.Contains(t, r.err, "service a is created")
	require.Contains(t, r.err, "dry run: nothing was written")
	plan := append([]string{"controlcenter", "plan"}, publishA[2:]...)
	r = weir(t, f, plan...)
	require.Equal(t, 0, r.code)
	require.True(t, strings.HasPrefix(r.out, "service a is created\n"), r.out)
	require.Equal(t, 2, weir(t, f, append(plan, "--detailed-exitcode")...).code)
	require.Zero(t, f.Writes())
	require.Equal(t, 0, weir(t, f, append(publishA, "--no-wait")...).code)
	require.Equal(t, 0, weir(t, f, append(plan, "--detailed-exitcode")...).code)
}

func TestPublishFromFiles(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Follow("n1")
	path := filepath.Join(t.TempDir(), "b.yaml")
	require.NoError(t, os.WriteFile(path, []byte("name: b\nvips: [10.10.1.2]\nports: [{port: 80}]\n"), 0o600))
	r := weirWith(t, f, `{"name": "a", "vips": ["10.10.1.1"], "ports": [{"port": 80}]}`, "controlcenter", "publish", "-f", "-", "-f", path)
	require.Equal(t, 0, r.code, r.err)
	require.Equal(t, 2, f.Writes())
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	large := "name: a\n#" + strings.Repeat("x", 2<<20)
	tests := []struct {
		name, in string
		args     []string
		code     int
		says     string
	}{
		{"no arguments", "", []string{}, 2, "give one NAME with --vip and --instance, or -f FILE"},
		{"file and flags", "", []string{"-f", "-", "--vip", "10.0.0.1:80"}, 2, "not both"},
		{"no VIP", "", []string{"a", "--instance", "10.0.0.1:80"}, 2, "give at least one --vip"},
		{"VIP without port", "", []string{"a", "--vip", "10.10.1.1"}, 2, "want IP:PORT"},
		{"VIP port 0", "", []string{"a", "--vip", "10.10.1.1:0"}, 2, "port 0 cannot be connected to"},
		{"VIP protocol", "", []string{"a", "--vip", "10.10.1.1:1/icmp"}, 2, "use tcp, udp or sctp"},
		{"VIPs with different ports", "", []string{"a", "--vip", "10.10.1.1:80", "--vip", "10.10.1.2:81"}, 2, "10.10.1.1:81 is not given"},
		{"instance without port", "", []string{"a", "--vip", "10.10.1.1:80", "--instance", "10.0.0.1"}, 2, "want IP:PORT or IP:PORT=WEIGHT"},
		{"weight as text", "", []string{"a", "--vip", "10.10.1.1:80", "--instance", "10.0.0.1:80=x"}, 2, `weight "x" is not a whole number in 0..1000`},
		{"weight 1001", "", []string{"a", "--vip", "10.10.1.1:80", "--instance", "10.0.0.1:80=1001"}, 2, `weight "1001"`},
		{"unknown flag", "", []string{"a", "--vp", "x"}, 2, "unknown flag: --vp: see weir controlcenter publish --help"},
		{"unknown output", "", []string{"a", "--vip", "10.10.1.1:80", "-o", "xml"}, 2, "use one of none, json, yaml, name"},
		{"name", "", []string{"A_B", "--vip", "10.10.1.1:80"}, 1, `name "A_B": want 1 to 63`},
		{"balance", "", []string{"a", "--vip", "10.10.1.1:80", "--balance", "fair"}, 1, "use uniform, static or adaptive"},
		{"metadata", "", []string{"a", "--vip", "10.10.1.1:80", "--instance", "169.254.169.254:80"}, 1, "link-local"},
		{"duplicate instance", "", []string{"a", "--vip", "10.10.1.1:80", "--instance", "10.0.0.1:80", "--instance", "10.0.0.1:80"}, 1, "given twice"},
		{"VIP taken", "", []string{"a", "--vip", "10.10.9.9:80"}, 4, "10.10.9.9:80 is taken by service other: choose another VIP or port, or withdraw other"},
		{"no file", "", []string{"-f", "/does/not/exist"}, 1, "no such file"},
		{"malformed yaml", "name: a\nports: [{port: 1}\n", []string{"-f", "-"}, 1, "stdin:2: the file: sequence end token"},
		{"malformed json", "{\"name\": \"a\",\n,}", []string{"-f", "-"}, 1, "stdin:2: the file: "},
		{"unknown field", "name: a\ncopies: 3\n", []string{"-f", "-"}, 1, "stdin:2: service a: copies: this field is unknown"},
		{"2 MB", large, []string{"-f", "-"}, 1, "larger than 1 MiB"},
		{"escape in a name", "", []string{"a\x1b[2J", "--vip", "10.10.1.1:80"}, 1, `a\x1b[2J`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			f.Put(t, storetest.Service(t, "other", "10.10.9.9:80"))
			r := weirWith(t, f, test.in, append([]string{"controlcenter", "publish"}, test.args...)...)
			require.Equal(t, test.code, r.code, r.err)
			require.Contains(t, r.err, test.says)
			require.NotContains(t, r.err, "\x1b")
			require.Empty(t, r.out)
			require.Zero(t, f.Writes(), "nothing is half written")
		})
	}
}

func TestPublishPassesOnWhatTheStoreSays(t *testing.T) {
	t.Parallel()
	for reason, code := range map[error]int{storetest.ErrUnreachable: 5, cluster.ErrDenied: 1, cluster.ErrUnsafe: 3} {
		f := newFake()
		f.Fail(reason)
		r := weir(t, f, publishA...)
		require.Equal(t, code, r.code)
		require.Contains(t, r.err, reason.Error())
	}
}

func TestPublishTimesOutWaiting(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Tell("n1", true, cluster.Applied{Revision: 1})
	r := weir(t, f, append(publishA, "--wait-timeout", "10ms")...)
	require.Equal(t, 6, r.code)
	require.Contains(t, r.err, "timed out: revision 102 is written, and applied on 0/1 nodes in ")
	require.Contains(t, r.err, "; waiting for n1 (at revision 1)")
	r = weir(t, f, append(publishA, "--wait-timeout", "10ms")...)
	require.Equal(t, 6, r.code, "publishing again waits again")
	require.Equal(t, 1, f.Writes())
}

func TestPublishWithoutNodesIsAnError(t *testing.T) {
	t.Parallel()
	r := weir(t, newFake(), publishA...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "no node is alive")
}

func TestPublishTakesAVIPFromThePools(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Follow("n1")
	r := weirWith(t, f, "vip_pools: [10.10.0.0/16]\n", "controlcenter", "config", "-f", "-")
	require.Equal(t, 0, r.code, r.err)
	r = weir(t, f, "controlcenter", "publish", "a", "--port", "80", "--port", "53/udp", "--instance", "192.168.1.1:80")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "+ frontend 10.10.0.1:80\n")
	require.Contains(t, r.err, "+ frontend 10.10.0.1:53/udp\n")
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Follow("n1")
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80"))
	r := weir(t, f, "controlcenter", "withdraw", "a", "--dry-run")
	require.Equal(t, 0, r.code)
	require.Zero(t, f.Writes())
	r = weir(t, f, "controlcenter", "withdraw", "a")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "service a is withdrawn")
	require.Contains(t, r.err, "applied on 1/1 nodes")
	r = weir(t, f, "controlcenter", "withdraw", "a")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `service "a" does not exist`)
}
