package nft

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

const docsFile = "../../docs/rules.md"

// TestDocs keeps docs/rules.md equal to what a kernel lists. "make docs" writes it anew.
func TestDocs(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	install(t, open(t, ns, OwnOff), build(rules.Options{Node: "n1", Ping: true},
		service("a", "10.10.1.128 fd10::128", 8080, "192.168.10.100:80*1", "192.168.10.101:80*1", "192.168.10.102:80*2", "[fd00:10::100]:80"),
		with(service("dns", "10.10.1.53", 53, "192.168.10.100:53"), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.UDP }),
		service("nobody", "10.10.1.3", 80),
		with(service("sleeper", "10.10.1.5", 80), rulestest.Sleeper),
		with(service("private", "10.10.1.6", 80, "192.168.10.100:8080"), func(s *cluster.Service) {
			s.Sources = []netip.Prefix{prefix("10.30.0.0/24"), prefix("10.40.0.7/32")}
		}),
		with(service("sticky", "10.10.1.4", 443, "192.168.10.100:443", "192.168.10.101:443"), func(s *cluster.Service) { s.Affinity = cluster.AffinitySource }),
	))
	page := docsPage(listing(t, ns))
	if *update {
		require.NoError(t, os.WriteFile(docsFile, []byte(page), 0o644))
	}
	want, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	require.Equal(t, string(want), page, "the kernel lists other rules than docs/rules.md shows: run make docs, and read the difference")
}

// emptyMap is an endpoint map without elements, of which there are many.
var emptyMap = regexp.MustCompile(`(?s)\tmap endpoints-\d+ \{[^{}]*\}\n\n?`)

// longElements are the elements of a map behind the first six.
var longElements = regexp.MustCompile(`(?s)(elements = \{(?:[^,}]*,){6})[^}]*\}`)

func docsPage(listed string) string {
	tables := strings.SplitN(listed, "table ip6 weir", 2)
	shown := emptyMap.ReplaceAllString(withoutCounters(tables[0]), "")
	shown = longElements.ReplaceAllString(shown, "$1\n\t\t\t     ... }")
	var chains strings.Builder
	for _, c := range families[0].chains() {
		what := purposes[c.name]
		fmt.Fprintf(&chains, "| `%s` | %s |\n", c.name, what)
	}
	return fmt.Sprintf(docsForm, chains.String(), strings.TrimSpace(shown))
}

// purposes say what each chain is for. TestDocs shows every chain, so a chain without a word here stands out.
var purposes = map[string]string{
	"refuse":        "the one place that says no: a TCP reset, else port unreachable",
	"no-endpoint":   "a service without a target; a name of its own so that a listing says why",
	"guarded":       "a service with `sources`: who is not admitted is counted in `refused`, and refused; only such services' connections come here",
	"local-out":     "hook: new connections to this node's instances are counted in `local`: those that are forwarded to them, or made here",
	"local-in":      "hook: the same for instances of the node itself, where connections arrive; one that was counted on its way out is not asked about again",
	"layout-3":      "no rule; its number says which form the table has",
	"other":         "a VIP, but no such port; or an address of a pool that nobody uses. With `--ping` the VIPs of services answer ping from here; no VIP becomes an address of the node",
	"dispatch":      "the entry from both hooks, for the first packet of a connection: one lookup for VIP traffic, two for everything else",
	"prerouting":    "hook: clients that are routed through this node",
	"output":        "hook: clients on this node",
	"masq":          "what reaches an instance under this node's address: forwarded connections, unless the source is in `keep-source`",
	"postrouting":   "hook: connections that were sent to a VIP, and no others: other programs' port mappings keep their clients",
	"stray-forward": "hook: packets that slipped past nat and would circle over `lo`",
	"stray-output":  "hook: the same for packets of this node, which would reach local listeners",
	"keep":          "no hook; its `ct` expression keeps connection tracking on while there is no service, so that live connections go on",
}

const docsForm = `# The rules in the kernel

This page is made from the kernel's own listing (` + "`make docs`" + `), and a test compares the two.

Weir keeps one table ` + "`weir`" + ` in each of the families ` + "`ip`" + ` and ` + "`ip6`" + `. The rules in it do not change: what changes are the elements of
its maps. ` + "`services`" + ` says for each (VIP, protocol, port) which chain decides; ` + "`lb-S-N`" + ` draws one of N slots at random and looks it up
in ` + "`endpoints-S`" + `; ` + "`lbh-S-N`" + ` takes the slot of the client address's hash. A target's share is its number of slots. S, from 0 to 15, is a
hash of the frontend: sixteen maps are listed much faster than one large one. A service with ` + "`sources`" + ` leads to ` + "`guarded`" + ` instead, and ` + "`guards`" + ` says
where those go on whom ` + "`sources`" + ` holds.

| chain | what it is for |
|---|---|
%s| ` + "`lb-S-N`" + ` | N slots, one drawn for each connection; made on first need, shared by all services |
| ` + "`lbh-S-N`" + ` | N slots, the one of the client's address: equal on every node |
| ` + "`hold`" + ` | a service that sleeps: dropped without an answer, so that the client's retry finds an instance, and told to the agent, at most once a second for each frontend (those in ` + "`waking`" + `); made on first need |

The ` + "`drop`" + ` behind each ` + "`dnat`" + ` is reached only when a slot is missing. It leaves no connection tracking entry, so the client's retry
decides anew.

What an administrator can look at: ` + "`nft list table ip weir`" + `, ` + "`weir rules show`" + ` (shares and counted connections), ` + "`weir rules diff`" + ` (against
etcd), ` + "`weir explain`" + ` (one client's way). Nothing in the table is meant to be edited: foreign changes are repaired or, where the
kernel lets a table be owned (Linux 6.9), refused. Names in it are ours alone: no text that a user wrote gets there.

## Family ip, as nft 1.0.6 lists it

Six services: ` + "`a`" + ` with weights 1, 1, 2; ` + "`dns`" + ` over UDP; ` + "`nobody`" + ` without an instance; ` + "`sleeper`" + `, which has none until somebody connects; ` + "`private`" + ` with two ` + "`sources`" + `; ` + "`sticky`" + ` with source
affinity. 192.168.10.100 is the node itself, which runs with ` + "`--ping`" + `. Empty endpoint maps, counters, and all but the first elements of long
maps are left out. Slots are printed as numbers of type mark.

` + "```nft" + `
%s
` + "```" + `

Family ` + "`ip6`" + ` is the same with IPv6 addresses.
`
