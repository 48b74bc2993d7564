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

// pair has service a with an instance on each of two nodes, of which n2 is gone.
func pair(t *testing.T) *fake {
	t.Helper()
	f := newFake()
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80"))
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}})
		d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2")}})
	})
	f.Follow("n1")
	return f
}

func TestNodeDown(t *testing.T) {
	t.Parallel()
	f := pair(t)
	f.gone = map[string]cluster.Gone{"n2": {State: cluster.HeldBack, Reason: "nobody could look", Since: noon.Add(-3e11)}}
	require.Contains(t, weir(t, f, "get", "nodes").out, "n2    gone   5m")
	writes := f.Writes()
	r := weir(t, f, "node", "down", "n2", "--reason", "disk", "--dry-run")
	require.Zero(t, r.code, r.err)
	require.Equal(t, "node n2 is declared down\n  - service a: 1 of the 2 instances that take new connections\ndry run: nothing was written\n", r.err)
	require.Equal(t, writes, f.Writes())

	r = weir(t, f, "controlcenter", "node", "down", "n2", "--reason", "evil\x1b[2J", "-o", "json")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "applied on 1/1 nodes")
	var out nodeOutcome
	require.NoError(t, json.Unmarshal([]byte(r.out), &out))
	require.Equal(t, "n2", out.Node)
	require.Positive(t, out.Revision)
	require.Len(t, out.Steps, 1)
	require.Equal(t, writes+1, f.Writes())
	nodes := weir(t, f, "get", "nodes").out
	require.Contains(t, nodes, "n2    down")
	require.Contains(t, nodes, `evil\u001b[2J`)
	require.Contains(t, weir(t, f, "get", "instances", "a").out, `node n2 is down: evil\u001b[2J`)

	r = weir(t, f, "node", "down", "n2", "--reason", "again")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "node n2 is already declared down")
	require.Equal(t, writes+1, f.Writes())
	require.Zero(t, weir(t, f, "node", "down", "n2", "--clear").code)
	require.Contains(t, weir(t, f, "get", "nodes").out, "n2    gone")
}

func TestNodeForget(t *testing.T) {
	t.Parallel()
	f := pair(t)
	r := weir(t, f, "node", "forget", "n1")
	require.Equal(t, 3, r.code, r.err)
	require.Contains(t, r.err, "node n1 is alive")
	f.Operate(cluster.Operations{Launchers: map[string]cluster.Launcher{"n2": {}}})
	r = weir(t, f, "node", "forget", "n2")
	require.Equal(t, 3, r.code, r.err)
	require.Contains(t, r.err, "weir node drain n2")
	f.Operate(cluster.Operations{})
	r = weir(t, f, "node", "forget", "n2")
	require.Zero(t, r.code, r.err)
	require.True(t, strings.HasPrefix(r.err, "node n2 is forgotten\n  - node n2: 192.168.1.2\n"), r.err)
	require.NotContains(t, weir(t, f, "get", "nodes").out, "n2")
	require.Zero(t, weir(t, f, "node", "forget", "n1", "--force").code)
}

func TestNodeRefuses(t *testing.T) {
	t.Parallel()
	f := pair(t)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"node":                            {2, "name one of the commands"},
		"node down n2":                    {2, "give --reason"},
		"node down n2 --clear --reason x": {2, "give --reason"},
		"node down --reason x":            {2, "an argument is missing"},
		"node forget":                     {2, `an argument is missing: want "weir node forget NODE"`},
		"node down n1 --reason x":         {3, "drain its instances instead"},
		"node down n9 --reason x":         {1, `node "n9" does not exist: there are n1, n2`},
		"node forget n9":                  {1, `node "n9" does not exist`},
	} {
		r := weir(t, f, strings.Fields(args)...)
		require.Equal(t, want.code, r.code, "%s: %s", args, r.err)
		require.Contains(t, r.err, want.text, args)
	}
	f.Before = func(cluster.Change) error { return cluster.ErrAlive }
	require.Equal(t, 4, weir(t, f, "node", "down", "n2", "--reason", "x").code, "it came back in between")
	f.Before = nil
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "node", "forget", "n2").code)
}
