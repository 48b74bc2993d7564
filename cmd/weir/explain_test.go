package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
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

// Who may connect, and which instances a node prefers, is said: nothing is silently refused or unbalanced.
func TestExplainSourcesAndLocality(t *testing.T) {
	t.Parallel()
	f := cast(t)
	s := storetest.Service(t, "near", "10.10.1.3:80", "192.168.1.1:80", "192.168.1.2:80")
	s.Locality, s.Sources = cluster.LocalityNode, []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
	f.Put(t, s)
	admitted := weir(t, f, "explain", "192.168.1.9", "10.10.1.3:80", "--node", "n1")
	require.Equal(t, 0, admitted.code, admitted.err)
	require.Contains(t, admitted.out, "sources: 192.168.1.0/24\n")
	require.Contains(t, admitted.out, "locality: prefer-node: 1 of 2 instances are on node n1 and take all of its connections\n")
	require.Contains(t, admitted.out, "outcome: sent\n  100.0 %  192.168.1.1:80 (slots: 1)\n")
	refused := weir(t, f, "explain", "192.168.2.9", "10.10.1.3:80", "--node", "n1")
	require.Contains(t, refused.out, "192.168.2.9 is not in @sources of 10.10.1.3:80")
	require.True(t, strings.HasSuffix(refused.out, "outcome: refused\n"), "a client that is refused has no chance: %s", refused.out)
	open := weir(t, f, "explain", "192.168.2.9", "10.10.1.1:80", "--node", "n1")
	require.NotContains(t, open.out, "sources:")
	require.NotContains(t, open.out, "locality:")
}

// A service that sleeps is said to, wherever somebody may look for why a connection hangs.
func TestSleeper(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.Put(t, &cluster.Service{
		Name: "sleeper", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.9")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		Run: &cluster.Run{Command: []string{"/bin/a"}}, Scale: &cluster.Scale{Max: 2},
	})
	explained := weir(t, f, "explain", "local", "10.10.1.9:80", "--node", "n1")
	require.Equal(t, 0, explained.code, explained.err)
	require.Contains(t, explained.out, "outcome: held\nnote: it sleeps: a connection is not answered, this node's agent tells the leader")
	require.Regexp(t, `(?m)^sleeper .* asleep `, weir(t, f, "get", "services").out)
	require.Contains(t, weir(t, f, "describe", "service", "sleeper").out, "asleep: it has no instance until somebody connects; that connection waits\n")
}

// Whoever is out is said with the reason and what its check answered; whoever is used although it fails, too.
func TestExplainHealth(t *testing.T) {
	t.Parallel()
	f := cast(t)
	say := func(instances map[string]cluster.Health, w *cluster.Weights) string {
		f.Edit(func(d *cluster.Draft) {
			d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("192.168.1.3")}})
			d.Health("n1", nil)
			d.Health("n2", cluster.NodeHealth{"a": instances})
			d.Weights("a", w)
		})
		r := weir(t, f, "explain", "local", "10.10.1.1:80", "--node", "n1")
		require.Equal(t, 0, r.code, r.err)
		return r.out
	}
	well := say(nil, nil)
	require.NotContains(t, well, "left out")
	require.NotContains(t, well, "panic")
	leaving := say(map[string]cluster.Health{"192.168.1.2:80": {Verdict: cluster.Leaving, Reason: "it said drain", Output: "drain\x1b[1m", Since: noon}}, nil)
	require.Contains(t, leaving, "left out: 192.168.1.2:80, leaving: it said drain, since 2026-01-02 12:00:00Z, its check said: drain\\u001b[1m\n")
	ejected := say(nil, &cluster.Weights{Ejected: map[string]cluster.Ejection{"192.168.1.3:80": {Reason: "slower than 1s three times"}}})
	require.Contains(t, ejected, "left out: 192.168.1.3:80, ejected: slower than 1s three times\n")
	failing := cluster.Health{Verdict: cluster.Failing, Reason: "timeout", Output: "after 1s"}
	panics := say(map[string]cluster.Health{"192.168.1.2:80": failing, "192.168.1.3:80": failing}, nil)
	require.Contains(t, panics, "note: panic: 192.168.1.2:80, 192.168.1.3:80: used although failing, since 2 of 3 fail: timeout\n")
	require.NotContains(t, panics, "left out")
}
