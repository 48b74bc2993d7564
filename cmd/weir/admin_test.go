package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestAdminSaysWhatChanged(t *testing.T) {
	t.Parallel()
	f := cast(t)
	for _, step := range []struct {
		args string
		code int
		says string
	}{
		{"drain a 192.168.1.2", 0, "service a: 192.168.1.2:80 is drained, written at revision "},
		{"undrain a 192.168.1.2:80", 0, "service a: 192.168.1.2:80 is no longer drained, written at revision "},
		{"weight a 192.168.1.2:80 7", 0, "service a: 192.168.1.2:80 has weight 7, set by hand, written at revision "},
		{"weight a 192.168.1.2:80 --clear", 0, "service a: 192.168.1.2:80 has no weight set by hand any more, written at revision "},
		{"weight a 192.168.1.2:80 -1", 2, "error: weight -1 is outside 0..1000: "},
		{"weight a 192.168.1.2:80 -12", 2, "error: weight -12 is outside 0..1000: "},
		{"weight a 192.168.1.2:80 -x", 2, "see weir controlcenter weight --help"},
	} {
		r := weir(t, f, append([]string{"controlcenter"}, strings.Fields(step.args)...)...)
		require.Equal(t, step.code, r.code, r.err)
		require.Contains(t, r.err, step.says)
	}
}

func TestAdaptiveWarns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		balance, token string
		denied         error
		warns          bool
	}{
		{"adaptive", "", nil, true},
		{"adaptive", "a token", nil, false},
		{"adaptive", "", cluster.ErrDenied, false},
		{"static", "", nil, false},
	} {
		for _, more := range []string{"--no-wait", "--dry-run"} {
			f := newFake()
			f.secret, f.denied = test.token, test.denied
			r := weir(t, f, "controlcenter", "publish", "a", "--vip", "10.10.1.1:80", "--instance", "192.168.1.1:80", "--balance", test.balance, more)
			require.Equal(t, 0, r.code, r.err)
			require.Equal(t, test.warns, strings.Contains(r.err, "warning: service a: balance adaptive: no control center has led yet, so the weights of the file count"), r.err)
		}
	}
}

func TestDrainWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, drainWait)
}

// drainWait has a clock of its own: its time is up when all that can happen has happened.
func drainWait(t *testing.T) {
	f := cast(t)
	r := weir(t, f, "controlcenter", "drain", "a", "192.168.1.2", "--wait", "-o", "json")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "0 live connections\na/192.168.1.2:80 is drained and has no live connection, after ")
	var out adminOutcome
	require.NoError(t, json.Unmarshal([]byte(r.out), &out))
	require.Equal(t, []any{"192.168.1.2:80", 2, 0}, []any{out.Instance, out.Nodes.Live, out.Remaining.Connections})

	writes := f.Writes()
	f.Tell("n2", true, cluster.Applied{Revision: 1, Flows: map[string]int{"a/192.168.1.2:80": 4}})
	r = weir(t, f, "controlcenter", "drain", "a", "192.168.1.2:80", "--wait", "--timeout", "50ms", "-o", "json")
	require.Equal(t, 8, r.code, r.err)
	require.Equal(t, writes+1, f.Writes(), "said again, so that the nodes answer")
	require.Contains(t, r.err, "4 live connections on n2 (4)\nerror: live connections remain: a/192.168.1.2:80 is drained, and after ")
	require.NoError(t, json.Unmarshal([]byte(r.out), &out))
	require.Equal(t, 4, out.Remaining.Connections)

	f.Tell("n3", false, cluster.Applied{Revision: 1})
	f.Tell("n2", true, cluster.Applied{Revision: 1})
	r = weir(t, f, "controlcenter", "drain", "a", "192.168.1.2:80", "--wait")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "warning: node n3 has no contact to etcd")
	require.Empty(t, r.out)

	for _, args := range []string{"--timeout 5s", "--wait --timeout 0s"} {
		r = weir(t, f, append([]string{"controlcenter", "drain", "a", "192.168.1.2:80"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, args)
		require.Contains(t, r.err, "--timeout", args)
	}
}

// The flag of drain has the name of one of etcd's, which keeps its variable.
func TestDrainTimeoutIsItsOwn(t *testing.T) {
	t.Setenv("WEIR_TIMEOUT", "7s")
	a := newApp(nil, io.Discard, io.Discard)
	root := newRootCmd(a)
	c, _, err := root.Find([]string{"controlcenter", "drain"})
	require.NoError(t, err)
	require.NoError(t, c.ParseFlags(nil))
	require.NoError(t, root.PersistentPreRunE(c, nil))
	require.Equal(t, []any{7 * time.Second, "1m0s"}, []any{a.etcd.timeout, c.Flag("timeout").Value.String()})
}
