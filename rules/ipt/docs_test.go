package ipt

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const docsFile = "../../docs/rules-ipt.md"

// TestDocs keeps docs/rules-ipt.md equal to what iptables-save lists, of both variants. "make docs" writes it anew.
func TestDocs(t *testing.T) {
	t.Parallel()
	want := rulestest.Ruleset(rules.Options{NoTables: true, Node: "n1", Ping: true},
		rulestest.With(rulestest.Service("a", "10.10.1.128", 8080, "192.168.10.100:80*1", "192.168.10.101:80*1", "192.168.10.102:80*2"),
			func(s *cluster.Service) { s.Instances[0].Node = "n1" }),
		rulestest.Service("nobody", "10.10.1.3", 80),
		rulestest.With(rulestest.Service("sleeper", "10.10.1.2", 80), rulestest.Sleeper),
		rulestest.With(rulestest.Service("some", "10.10.1.6", 80, "192.168.10.100:80"),
			func(s *cluster.Service) { s.Sources = append(s.Sources, rulestest.Prefix("10.30.0.0/24")) }),
		rulestest.With(rulestest.Service("sticky", "10.10.1.4", 443, "192.168.10.100:443", "192.168.10.101:443"),
			func(s *cluster.Service) { s.Affinity = cluster.AffinitySource }),
	)
	for _, v := range variants {
		ns := rulestest.Namespace(t)
		rulestest.Install(t, open(v, ns), want)
		page := docsPage(listed(t, ns, v, families[0]))
		if *update && v == NFT {
			require.NoError(t, os.WriteFile(docsFile, []byte(page), 0o644))
		}
		have, err := os.ReadFile(docsFile)
		require.NoError(t, err)
		require.Equal(t, string(have), page, "%s lists other rules than docs/rules-ipt.md shows: run make docs, and read the difference", v)
	}
}

var (
	laterDispatchers = regexp.MustCompile(`(?m)^.*WEIR-SERVICES-(?:[5-9]|1\d).*\n`)
	laterBranches    = regexp.MustCompile(`(?m)^.*WEIR-F-\w{13}-(?:[1-3]\w*|0[1-3]\w*|00[1-3]\w*|000[1-3])\b.*\n`)
)

func docsPage(listing string) string {
	shown := laterBranches.ReplaceAllString(laterDispatchers.ReplaceAllString(listing, ""), "")
	var chains strings.Builder
	for _, c := range purposes {
		fmt.Fprintf(&chains, "| %s | `%s` | %s |\n", c[0], c[1], c[2])
	}
	return fmt.Sprintf(docsForm, chains.String(), strings.TrimSpace(shown))
}

// purposes say what each chain is for; TestPurposes finds one that is left out.
var purposes = [][3]string{
	{filter, "WEIR-INPUT", "what nat led to port 1: to be refused; and to port 2: to be dropped"},
	{filter, "OUTPUT", "a rule in it drops what nat led to port 2, of clients on this node"},
	{filter, "WEIR-FORWARD", "what slipped past nat and would circle: refused"},
	{filter, "WEIR-OUTPUT", "the same for packets of this node, which would reach local listeners"},
	{filter, "WEIR-REFUSE", "the one place that says no: a TCP reset, else port unreachable"},
	{nat, "WEIR-SERVICES", "the entry from PREROUTING (routed clients) and OUTPUT (clients on this node), for the first packet of a connection"},
	{nat, "WEIR-SERVICES-K", "the frontends whose VIP ends with the bits K, and behind them VIPs without a pool"},
	{nat, "WEIR-VIPS", "the pools: an unused address, or a port that no service has"},
	{nat, "WEIR-PING", "VIPs that answer ping (`--ping`)"},
	{nat, "WEIR-F-HASH", "a frontend: a rule for each target, or for each admitted source"},
	{nat, "WEIR-F-HASH-DIGITS", "source affinity: a branch of the tree"},
	{nat, "WEIR-T-HASH", "the targets of a guarded frontend"},
	{nat, "WEIR-REFUSED", "clients that a guarded frontend does not admit; the rules that lead here count them"},
	{nat, "WEIR-NO-ENDPOINT", "a service without a target; a name of its own so that a listing says why"},
	{nat, "WEIR-HOLD", "a service that sleeps: the rule before tells the agent; leads to port 2 of the node, where WEIR-INPUT drops, or for clients on this node OUTPUT, so that the client's retry finds an instance"},
	{nat, "WEIR-OTHER", "leads to port 1 of the node, where WEIR-INPUT refuses"},
	{nat, "WEIR-POSTROUTING", "counts, and then decides about masquerading"},
	{nat, "WEIR-LOCAL", "new connections to instances of this node, counted"},
	{nat, "WEIR-FROM-NODE", "clients on this node keep their address, unless it is a VIP"},
	{nat, "WEIR-TO-VIPS", "connections that were sent to a VIP, and no others: other programs' port mappings keep their clients"},
	{nat, "WEIR-MASQ", "who is masqueraded: in the order of the next three"},
	{nat, "WEIR-HAIRPIN", "an instance that calls itself"},
	{nat, "WEIR-SAME-LINK", "client and instance on one link, where replies would bypass this node"},
	{nat, "WEIR-KEEP-SOURCE", "clients whose address instances may see (`--keep-source`); everybody else is masqueraded"},
}

func TestPurposes(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	for _, c := range purposes {
		told[c[0]+c[1]] = true
	}
	for _, f := range families {
		for _, c := range f.fixed() {
			require.True(t, told[c.table+c.name], c.name)
		}
	}
	for _, name := range variable() {
		require.True(t, told[nat+name] || strings.HasPrefix(name, "WEIR-SERVICES-"), name)
	}
}

const docsForm = `# The rules in the kernel, with iptables

This page is made from the listing of ` + "`iptables-save`" + ` (` + "`make docs`" + `), and a test compares it with those of iptables-nft and iptables-legacy.
[rules.md](rules.md) has those of the driver nft, which is the usual one; [operations.md](operations.md#the-driver) says how to choose.

A frontend, that is a (VIP, protocol, port), has a chain of its own. Rule k of n sends a new connection to target k with probability
w_k / (w_k + ... + w_n): the chances count from what the rules before left, so that equal weights read 1/3, 1/2, and no condition. How
many of how many slots a target has stands in the comment. HASH is of the frontend: no text that a user wrote gets into a rule.

| table | chain | what it is for |
|---|---|---|
%s
Nothing in these chains is meant to be edited: foreign changes are repaired. ` + "`weir rules show`" + ` tells shares and counted connections, ` + "`weir rules diff`" + `
compares with etcd, ` + "`weir rules show --driver ipt -f FILE`" + ` prints this text for a file.

## IPv4, as iptables-save lists it

Five services: ` + "`a`" + ` with weights 1, 1, 2, whose first instance runs on this node; ` + "`nobody`" + ` without an instance; ` + "`sleeper`" + `, which has none until somebody connects; ` + "`some`" + ` for 10.30.0.0/24 alone;
` + "`sticky`" + ` with source affinity, of whose tree one way is shown. Eleven of the sixteen chains WEIR-SERVICES-K are left out.

` + "```" + `
%s
` + "```" + `

IPv6 is the same with its own addresses and names; source affinity asks for the last bits of the address there, in place of a hash.
`
