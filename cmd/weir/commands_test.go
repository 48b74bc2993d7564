package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func cast(t *testing.T) *fake {
	f := newFake()
	f.Follow("n1", "n2")
	s := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80")
	s.Instances[2].Labels = map[string]string{"zone": "east", "rack": "7"}
	f.Put(t, s, storetest.Service(t, "b", "10.10.1.2:53/udp"))
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}, Version: "1.0"})
		d.Health("n1", cluster.NodeHealth{"a": {"192.168.1.1:80": {Verdict: cluster.Dead, Reason: "evil\x1b[2J\nrow \u202e", Since: noon.Add(-3e11)}}})
	})
	return f
}

func TestGet(t *testing.T) {
	t.Parallel()
	f := cast(t)
	tests := []struct{ args, want string }{
		{"get services", "NAME  FRONTENDS         TAKING  STATUS    BALANCE\n" +
			"a     10.10.1.1:80      2/3     degraded  static\n" +
			"b     10.10.1.2:53/udp  0/0     empty     static\n"},
		{"get services b -o name", "service/b\n"},
		{"get instances a", "SERVICE  INSTANCE        STATE    WEIGHT  SHARE  AGE  REASON\n" +
			"a        192.168.1.1:80  dead     0       0.0%   5m   evil\\u001b[2J\\nrow \\u202e\n" +
			"a        192.168.1.2:80  serving  1       50.0%  -    -\n" +
			"a        192.168.1.3:80  serving  1       50.0%  -    -\n"},
		{"get nodes", "NAME  STATE  SINCE  APPLIED  LAG  PROBLEMS  REPAIRS  STALE  AGE  VERSION  REASON\n" +
			"n1    alive  -      104      0    0         0        false  -    1.0      -\n" +
			"n2    alive  -      104      0    0         0        false  -    -        -\n"},
		{"get node n2 -o name", "node/n2\n"},
		{"controlcenter get service a -o name", "service/a\n"},
		{"rbac n1 n2", "roles for n1 n2\n"},
	}
	for _, test := range tests {
		r := weir(t, f, strings.Fields(test.args)...)
		require.Equal(t, 0, r.code, r.err)
		require.Equal(t, test.want, r.out, test.args)
	}
	r := weir(t, f, "get", "instances", "-o", "wide")
	require.Contains(t, r.out, "192.168.1.3:80  -     east  file  -       -     -        -                     -       file  rack=7,zone=east\n")
	r = weir(t, f, "get", "services", "x")
	require.Equal(t, []any{1, ""}, []any{r.code, r.out})
	require.Contains(t, r.err, `service "x" does not exist: there are a, b`)
}

func TestGetShowsRepairs(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.repairs = map[string]cluster.Repairs{"n1": {Count: 30, Newest: []cluster.Repair{
		{At: noon, What: "table ip weir: rule made", Who: "evil\x1b[2J (pid 7)", WrongMS: 2.2}, {What: "older"},
	}}}
	require.Contains(t, weir(t, f, "get", "nodes").out, "n1    alive  -      104      0    0         30       false")
	r := weir(t, f, "get", "nodes", "-o", "wide")
	require.Contains(t, r.out, `table ip weir: rule made by evil\u001b[2J (pid 7) at 2026-01-02T12:00:00Z, wrong for 2 ms`)
	require.NotContains(t, r.out, "older")

	f.repairs, f.denied = nil, fmt.Errorf("read the repairs: %w", cluster.ErrDenied)
	r = weir(t, f, "get", "nodes")
	require.Zero(t, r.code, "a role of an older version")
	require.Contains(t, r.err, "warning: read the repairs")
	require.Contains(t, r.out, "n1    alive")
	f.denied = storetest.ErrUnreachable
	require.Equal(t, 5, weir(t, f, "get", "nodes").code)
}

func TestGetAsData(t *testing.T) {
	t.Parallel()
	f := cast(t)
	var rows []controlcenter.InstanceRow
	r := weir(t, f, "get", "instances", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &rows))
	require.Equal(t, "evil\x1b[2J\nrow \u202e", rows[0].Reason, "what is escaped on the way reads back whole")
	require.NotContains(t, r.out, "\u202e")
	require.Contains(t, weir(t, f, "get", "services", "-o", "yaml").out, "- affinity: none\n")
	require.Equal(t, "[]\n", weir(t, newFake(), "get", "services", "-o", "json").out)
}

func TestGetNeedsEtcd(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"get services", "get nodes", "guard", "controlcenter config", "controlcenter drain a x", "guard accept --revision 3", "controlcenter withdraw a"} {
		f := newFake()
		f.Fail(storetest.ErrUnreachable)
		r := weir(t, f, strings.Fields(args)...)
		require.Equal(t, 5, r.code, args)
		require.Contains(t, r.err, "etcd cannot be reached", args)
		require.Empty(t, r.out, args)
	}
}

func TestDrainUndrainWeight(t *testing.T) {
	t.Parallel()
	f := cast(t)
	state := func() string {
		rows := weir(t, f, "get", "instances", "a").out
		return strings.Join(strings.Fields(strings.Split(rows, "\n")[2])[2:4], " ")
	}
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"drain a 192.168.1.2:80 --reason disk", 0, "draining 0"},
		{"drain a 192.168.1.3:80", 3, "draining 0"},
		{"drain a 192.168.1.3:80 --force", 0, "draining 0"},
		{"undrain a 192.168.1.2:80", 0, "serving 1"},
		{"weight a 192.168.1.2:80 7", 0, "serving 7"},
		{"weight a 192.168.1.2:80 7", 0, "serving 7"},
		{"weight a 192.168.1.2:80 1001", 1, "serving 7"},
		{"weight a 192.168.1.2:80 --clear", 0, "serving 1"},
		{"weight a 192.168.1.2:80", 2, "serving 1"},
		{"weight a 192.168.1.2:80 3 --clear", 2, "serving 1"},
		{"weight a 192.168.1.2:80 x", 2, "serving 1"},
		{"drain a", 2, "serving 1"},
		{"drain a nobody", 1, "serving 1"},
	} {
		r := weir(t, f, append([]string{"controlcenter"}, strings.Fields(step.args)...)...)
		require.Equal(t, step.code, r.code, "%s: %s", step.args, r.err)
		require.Equal(t, step.want, state(), step.args)
	}
	require.Equal(t, 5, f.Writes(), "the same again is not written")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	f := cast(t)
	require.Equal(t, "{}\n", weir(t, f, "controlcenter", "config").out)
	set := func(text string, more ...string) result {
		return weirWith(t, f, text, append([]string{"controlcenter", "config", "-f", "-"}, more...)...)
	}
	r := set("vip_pools: [10.10.0.0/16]\n")
	require.Equal(t, 0, r.code, r.err)
	require.Equal(t, "vip_pools:\n- 10.10.0.0/16\n", weir(t, f, "controlcenter", "config").out)
	require.Equal(t, 1, set("vip_pool: []\n").code)
	require.Equal(t, 1, set("vip_pools: [192.168.0.0/16]\n", "--force").code, "it holds a node")
	r = set("vip_pools: [10.99.0.0/16]\n")
	require.Equal(t, 3, r.code)
	require.Contains(t, r.err, "service a: vips[0]: 10.10.1.1 is outside the VIP pools [10.99.0.0/16]")
	require.Equal(t, 1, f.Writes())
	require.Equal(t, 0, set("vip_pools: [10.99.0.0/16]\n", "--force").code)
}

func TestGuard(t *testing.T) {
	t.Parallel()
	f := cast(t)
	r := weir(t, f, "guard")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.err, "nothing is held back")
	f.Hold(cluster.Held{Revision: 90, Deleted: 12, Reason: "no net/ready", Since: noon})
	require.Regexp(t, `n1 +90 +12 +no net/ready`, weir(t, f, "guard").out)
	require.Contains(t, weir(t, f, "get", "services").err, "the deletion of 12 services is held back: no net/ready: see weir guard")
	require.Equal(t, 2, weir(t, f, "guard", "accept").code)
	require.Equal(t, 0, weir(t, f, "guard", "accept", "--revision", "90").code)
	require.Contains(t, weir(t, f, "guard").err, "nothing is held back")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"", "nonsense", "controlcenter", "controlcenter publsh", "get", "get pods", "get services a b", "--timeout never get services", "--nonsense"} {
		r := weir(t, newFake(), strings.Fields(args)...)
		require.Equal(t, 2, r.code, "%q: %s", args, r.err)
		require.Empty(t, r.out, args)
		require.Contains(t, r.err, "error: ", args)
	}
	r := weir(t, newFake(), "--help")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, "Exit codes:")
	require.Contains(t, weir(t, newFake(), "completion", "bash").out, "weir")
	require.Contains(t, weir(t, newFake(), "version").out, "weir ")
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		nil: 0, fmt.Errorf("x"): 1, cluster.ErrDenied: 1, &usageError{fmt.Errorf("x")}: 2, errChanges: 2, cluster.ErrUnsafe: 3,
		cluster.ErrConflict: 4, &cluster.TakenError{}: 4, cluster.ErrUnreachable: 5, controlcenter.ErrTimeout: 6, context.DeadlineExceeded: 6,
	} {
		got := exitCode(err)
		if err != nil {
			got = exitCode(fmt.Errorf("doing: %w", err))
		}
		require.Equal(t, want, got, "%v", err)
	}
}

func TestArgumentZero(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"controlcenter", "plan"}, subcommands([]string{"/usr/bin/controlcenter", "plan"}))
	require.Equal(t, []string{"plan"}, subcommands([]string{"./weir", "plan"}))
}

// Flags are parsed by the constructor alone: a test that replaces the run function sees what it would get.
func TestPublishFlags(t *testing.T) {
	t.Parallel()
	var got *publishOptions
	c := newPublishCmd(newApp(nil, nil, nil), func(_ context.Context, o *publishOptions) error { got = o; return nil })
	c.SetArgs([]string{"a", "--vip", "[fd00::1]:80/sctp", "--instance", "[fd00:1::1]:80=0", "--balance", "uniform", "--affinity", "source", "--no-wait"})
	require.NoError(t, c.ExecuteContext(t.Context()))
	s, err := got.services.service()
	require.NoError(t, err)
	require.Equal(t, "[fd00::1]:80/sctp", s.Frontends()[0].String())
	require.Equal(t, 0, s.Instances[0].Weight)
	require.Equal(t, []any{cluster.BalanceUniform, cluster.AffinitySource, true}, []any{s.Balance, s.Affinity, got.wait.no})
}

func TestSafeWriter(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	w := &safeWriter{w: &b}
	text := "ü\x1b[1m\r\a\u202e\u009b\U000e0001\xff\n\t日"
	for i := range len(text) { // characters arrive in parts
		n, err := w.Write([]byte{text[i]})
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.Equal(t, "ü\\u001b[1m\\u000d\\u0007\\u202e\\u009b\\udb40\\udc01\\ufffd\n\t日", b.String())
}
