package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	f := cast(t)
	explain := func(args ...string) explanation {
		r := weir(t, f, append([]string{"explain", "-o", "json", "--node", "n1"}, args...)...)
		require.Equal(t, 0, r.code, r.err)
		var e explanation
		require.NoError(t, json.Unmarshal([]byte(r.out), &e))
		require.Contains(t, e.Basis, "etcd at revision")
		require.Empty(t, e.Route, "the route of another node is not known here")
		return e
	}
	local := explain("local", "10.10.1.1:80")
	require.Equal(t, "a", local.Service)
	require.Equal(t, "sent", local.Outcome)
	require.NotEmpty(t, local.Chances)
	require.Equal(t, "output", local.Steps[0].Chain)
	require.Contains(t, local.Steps[len(local.Steps)-1].What, "its source is this node")

	routed := explain("192.168.77.7", "10.10.1.1:80")
	require.Equal(t, "prerouting", routed.Steps[0].Chain)
	require.Contains(t, routed.Steps[len(routed.Steps)-1].What, "masquerade")

	require.Equal(t, "refused", explain("local", "10.10.1.1:81").Outcome)
	require.Equal(t, "passes", explain("local", "10.99.9.9:80").Outcome)

	for args, want := range map[string]string{
		"nonsense":    `client "nonsense": want an address, or local`,
		"fd00::1":     "they are of different address families",
		"192.168.1.1": "",
	} {
		r := weir(t, f, "explain", args, "10.10.1.1:80", "--node", "n1")
		require.Contains(t, r.err, want)
		require.Equal(t, want != "", r.code == 2, args)
	}
	r := weir(t, f, "explain", "local", "10.10.1.1:80", "--node", "nobody")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `there is no node "nobody"`)
}
