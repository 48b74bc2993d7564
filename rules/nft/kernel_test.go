package nft

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// What the tests of both drivers begin with.
var (
	namespace = rulestest.Namespace
	inside    = rulestest.Inside
	service   = rulestest.Service
	with      = rulestest.With
	few       = rulestest.Few
	prefix    = rulestest.Prefix
)

// nft runs the stock program, as somebody else on the node would.
func nft(t require.TestingT, ns int, script string) {
	out, err := inside(ns, script, "nft", "-f", "-")
	require.NoError(t, err, "%s\n%s", script, out)
}

func listing(t require.TestingT, ns int) string {
	out, err := inside(ns, "", "nft", "list", "ruleset")
	require.NoError(t, err, out)
	return out
}

func open(t testing.TB, ns int, ownership Ownership) *Driver {
	d, err := New(Options{Ownership: ownership, NetNS: ns})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func read(t require.TestingT, d *Driver) *rules.State {
	state, err := d.Read(context.Background())
	require.NoError(t, err)
	return state
}

// install brings the kernel to what is wanted, without a doubt about what it held.
func install(t require.TestingT, d *Driver, want *rules.Ruleset) *rules.State {
	state := read(t, d)
	problems, err := rules.Carry(context.Background(), d, state, rules.Diff(state, want))
	require.NoError(t, err)
	require.Empty(t, problems)
	return state
}

// build makes a ruleset of services, some of whose instances are on the node n1.
func build(options rules.Options, services ...*cluster.Service) *rules.Ruleset {
	draft := cluster.NewDraft()
	for i, s := range services {
		s.CreateRevision, s.ModRevision = int64(i+1), int64(i+1)
		draft.Service(s.Name, s)
	}
	draft.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.10.100")}})
	return rules.Build(nil, draft.Snapshot(int64(len(services)+1)), options)
}
