package doctor

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// well is a node that nothing is wrong with.
func well() *Host {
	four := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	return &Host{
		Links: Known([]Link{{Name: "lo", Kind: "device", Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}, {Name: "eth0", Kind: "veth", Up: true, Addrs: four}}),
		Sysctls: Sysctls{
			"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "0", "net/ipv4/conf/eth0/forwarding": "1",
			"net/netfilter/nf_conntrack_count": "79", "net/netfilter/nf_conntrack_max": "100",
			"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/eth0/rp_filter": "0", "net/ipv4/conf/all/route_localnet": "0",
			"net/ipv4/conf/eth0/route_localnet": "0", "net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/eth0/send_redirects": "0",
		},
		Kernel: Known(Kernel{Release: "6.12.9-amd64", Owns: true}), Caps: Known(uint64(1 << 12)), Clock: Known(Clock{Synchronised: true}),
		State: Known(StateDir{Path: "/var/lib/weir", Exists: true, Directory: true, Mode: 0o700, Free: 1 << 30}), AgentRuns: Known(true),
		Rules: Known(Rules{VIPs: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}, Owned: true, Plan: &rules.Plan{}}), Snapshot: Known(&cluster.Snapshot{}),
		Prefix: "/w/", Access: Known(asUser("weir-node-n1", "weir-node-n1")),
	}
}

func TestNothingIsWrong(t *testing.T) {
	t.Parallel()
	found := CheckHost(well())
	require.Len(t, found, len(hostChecks))
	require.Equal(t, OK, Worst(found), "%v", found)
}

func TestHostFindings(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	second := Link{Name: "eth1", Kind: "veth", Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}}
	sysctl := func(key, value string) func(*Host) {
		return func(h *Host) { h.Sysctls[key] = value }
	}
	both := func(changes ...func(*Host)) func(*Host) {
		return func(h *Host) {
			for _, change := range changes {
				change(h)
			}
		}
	}
	twoWays := func(h *Host) { h.Links.value = append(h.Links.value, second) }
	bridge := func(h *Host) {
		h.Links.value = append(h.Links.value, Link{Name: "br0", Kind: "bridge", Up: true, Ports: 2})
	}
	plain := func(h *Host) { h.Rules.value.Owned = false }
	state := func(change func(*StateDir)) func(*Host) { return func(h *Host) { change(&h.State.value) } }
	neighbour := func(n nft.Neighbour) func(*Host) {
		return func(h *Host) { h.Neighbours.value = append(h.Neighbours.value, n) }
	}
	compat := nft.Neighbour{Family: "ip", Table: "nat", Chain: "PREROUTING", Kind: "nat", Hook: "prerouting", Priority: -100}

	for name, test := range map[string]struct {
		check    string
		change   func(*Host)
		severity Severity
		seen     string // of the finding; "": there is none
	}{
		"no agent":           {"agent", func(h *Host) { h.AgentRuns = Known(false) }, Fail, "no agent runs"},
		"no capability":      {"capability", func(h *Host) { h.Caps = Known(uint64(1) << 13) }, Warn, "lacks CAP_NET_ADMIN"},
		"no etcd":            {"etcd", func(h *Host) { h.Snapshot.err = broken }, Fail, "cannot be read from here: broken"},
		"root's credential":  {"credential", func(h *Host) { h.Access = Known(asUser("root", "root")) }, Warn, "is etcd's root"},
		"a wide credential":  {"credential", func(h *Host) { h.Access = Known(asUser("weir-node-n1", "weir-node-n1", "weir-operator")) }, Warn, "speaks for a node (weir-node-n1) and has also weir-operator"},
		"rights unknown":     {"credential", func(h *Host) { h.Access = Known(etcd.Access{Enabled: true, Err: broken}) }, Warn, "could not be looked at: broken"},
		"stale rules":        {"rules", func(h *Host) { h.Rules.value.Plan = somePlan(t) }, Fail, "the kernel lacks or has too many of"},
		"nothing to compare": {"rules", func(h *Host) { h.Rules.value.Plan = nil }, Warn, "could not be looked at: there is nothing to compare with"},
		"no driver":          {"rules", func(h *Host) { h.Rules.err = broken }, Warn, "could not be looked at: broken"},
		"route missing": {"routes", func(h *Host) {
			h.Routes = Known([]agent.RouteFault{{Prefix: second.Addrs[0], What: "is missing", Fix: "x"}})
		}, Fail, "the route to 198.51.100.1/24: is missing"},
		"many routes":             {"routes", func(h *Host) { h.Routes = Known(slices.Repeat([]agent.RouteFault{{Fix: "x"}}, 8)) }, Fail, "the route to"},
		"not forwarding":          {"forwarding", sysctl("net/ipv4/ip_forward", "0"), Warn, "net.ipv4.ip_forward is 0"},
		"not forwarding, v6 only": {"forwarding", both(sysctl("net/ipv4/ip_forward", "0"), vips("fd10::/64")), Warn, "net.ipv6.conf.all.forwarding is 0"},
		"forwarding what counts":  {"forwarding", both(sysctl("net/ipv4/ip_forward", "0"), sysctl("net/ipv6/conf/all/forwarding", "1"), vips("fd10::/64")), OK, ""},
		"one link not forwarding": {"forwarding", sysctl("net/ipv4/conf/eth0/forwarding", "0"), Warn, "off on interface eth0"},
		"table crowded":           {"conntrack", sysctl("net/netfilter/nf_conntrack_count", "80"), Warn, "80 of 100 entries (80 %)"},
		"table full":              {"conntrack", sysctl("net/netfilter/nf_conntrack_count", "95"), Fail, "95 of 100"},
		"table without a limit":   {"conntrack", sysctl("net/netfilter/nf_conntrack_max", "0"), OK, ""},
		"no table":                {"conntrack", func(h *Host) { delete(h.Sysctls, "net/netfilter/nf_conntrack_count") }, Fail, "no connection tracking"},
		"strict, one way":         {"rp_filter", sysctl("net/ipv4/conf/all/rp_filter", "1"), Note, "strict) on eth0"},
		"strict, two ways":        {"rp_filter", both(twoWays, sysctl("net/ipv4/conf/eth1/rp_filter", "1")), Warn, "strict) on eth1"},
		"loose wins":              {"rp_filter", both(twoWays, sysctl("net/ipv4/conf/eth1/rp_filter", "1"), sysctl("net/ipv4/conf/all/rp_filter", "2")), OK, ""},
		"localnet for all":        {"route_localnet", sysctl("net/ipv4/conf/all/route_localnet", "1"), Warn, "all interfaces"},
		"localnet for one":        {"route_localnet", sysctl("net/ipv4/conf/eth0/route_localnet", "1"), Warn, "interface eth0"},
		"bridge, translating":     {"bridge-nf-call", both(bridge, sysctl("net/bridge/bridge-nf-call-iptables", "1")), Note, "is on, and br0"},
		"bridge, passing by":      {"bridge-nf-call", both(bridge, sysctl("net/bridge/bridge-nf-call-iptables", "0")), Note, "is 0, and br0"},
		"bridge, nothing of it":   {"bridge-nf-call", bridge, OK, ""},
		"no bridge":               {"bridge-nf-call", sysctl("net/bridge/bridge-nf-call-iptables", "1"), OK, ""},
		"redirects":               {"send_redirects", sysctl("net/ipv4/conf/eth0/send_redirects", "1"), Note, "redirects on eth0"},
		"redirects, no router":    {"send_redirects", both(sysctl("net/ipv4/conf/eth0/send_redirects", "1"), sysctl("net/ipv4/ip_forward", "0")), OK, ""},
		"flush, owned":            {"flush-ruleset", func(h *Host) { h.Flushes = Known([]Flush{{"/etc/nftables.conf", 3, true}}) }, Note, "/etc/nftables.conf:3"},
		"flush, plain":            {"flush-ruleset", both(plain, func(h *Host) { h.Flushes = Known([]Flush{{"/etc/x", 1, true}}) }), Warn, "/etc/x:1"},
		"flush, never loaded":     {"flush-ruleset", both(plain, func(h *Host) { h.Flushes = Known([]Flush{{"/etc/x", 1, false}}) }), Note, "/etc/x:1"},
		"firewalld runs":          {"firewalld", func(h *Host) { h.Processes = Known([]string{"init", "firewalld"}) }, Note, "firewalld is active"},
		"firewalld left a table":  {"firewalld", neighbour(nft.Neighbour{Family: "inet", Table: "firewalld"}), Note, "firewalld is active"},
		"both iptables":           {"iptables", both(neighbour(compat), func(h *Host) { h.Legacy = Known([]string{"filter"}) }), Warn, "(tables filter) and of iptables-nft (tables nat)"},
		"one iptables":            {"iptables", func(h *Host) { h.Legacy = Known([]string{"filter"}) }, OK, ""},
		"legacy unknown":          {"iptables", func(h *Host) { h.Legacy.err = broken }, Warn, "could not be looked at: broken"},
		"beside us":               {"neighbours", neighbour(compat), Note, "same place: ip nat (prerouting, -100)"},
		"our own iptables":        {"neighbours", both(neighbour(compat), func(h *Host) { h.Rules.value.Driver = "ipt" }), OK, ""},
		"before us":               {"neighbours", neighbour(nft.Neighbour{Family: "inet", Table: "x", Kind: "nat", Hook: "output", Priority: -101}), Note, "earlier: inet x (output, -101)"},
		"behind us":               {"neighbours", neighbour(nft.Neighbour{Family: "inet", Table: "x", Kind: "nat", Hook: "output", Priority: -99}), OK, ""},
		"a filter":                {"neighbours", neighbour(nft.Neighbour{Family: "inet", Table: "x", Kind: "filter", Hook: "output", Priority: -200}), OK, ""},
		"legacy nat":              {"neighbours", func(h *Host) { h.Legacy = Known([]string{"nat"}) }, Note, "iptables-legacy nat"},
		"old kernel":              {"kernel", func(h *Host) { h.Kernel = Known(Kernel{Release: "5.8.0-1"}) }, Warn, "the kernel is 5.8.0-1"},
		"kernel without owners":   {"kernel", func(h *Host) { h.Kernel = Known(Kernel{Release: "6.1.0-30-amd64"}) }, Note, "no tables that belong"},
		"no state directory":      {"state-dir", state(func(d *StateDir) { d.Exists = false }), Note, "does not exist"},
		"state is a file":         {"state-dir", state(func(d *StateDir) { d.Directory = false }), Fail, "is no directory"},
		"state for all to write":  {"state-dir", state(func(d *StateDir) { d.Mode = 0o777 }), Warn, "can be written by others (mode 0777)"},
		"state for all to read":   {"state-dir", state(func(d *StateDir) { d.Mode = 0o755 }), Note, "mode 0755"},
		"state read-only":         {"state-dir", state(func(d *StateDir) { d.ReadOnly = true }), Warn, "is read-only"},
		"state full":              {"state-dir", state(func(d *StateDir) { d.Free = 1 << 20 }), Warn, "1 MiB left"},
		"state damaged":           {"state-dir", state(func(d *StateDir) { d.File = broken }), Warn, "cannot be used: broken"},
		"clock":                   {"clock", func(h *Host) { h.Clock = Known(Clock{}) }, Note, "not synchronised"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := well()
			h.Sysctls = maps.Clone(h.Sysctls)
			test.change(h)
			found := CheckHost(h)
			expect(t, found, test.check, test.severity, test.seen)
			noWorse(t, found, HostEntries())
		})
	}
}

// asUser is who has roles as Weir prescribes them.
func asUser(name string, roles ...string) etcd.Access {
	a := etcd.Access{Enabled: true, Self: name, Users: map[string][]string{name: roles}, Roles: map[string][]etcd.Span{}}
	for _, r := range roles {
		role, _ := etcd.RoleNamed(r)
		a.Roles[r] = role.Spans("/w/")
	}
	return a
}

// expect wants one check to say something, and to say what to do about it.
func expect(t *testing.T, found []Finding, check string, severity Severity, seen string) {
	t.Helper()
	for _, f := range found {
		if f.Check != check {
			continue
		}
		require.Equal(t, severity, f.Severity, "%v", f)
		if severity == OK {
			return
		}
		require.Contains(t, f.Seen, seen)
		require.NotEmpty(t, f.Why)
		require.NotEmpty(t, f.Fix)
		return
	}
	require.Fail(t, "no finding", "%s in %v", check, found)
}

func TestWorstComesFirst(t *testing.T) {
	t.Parallel()
	h := well()
	h.AgentRuns, h.Clock = Known(false), Known(Clock{})
	found := CheckHost(h)
	require.Equal(t, "agent", found[0].Check)
	require.Equal(t, "clock", found[1].Check)
	require.Equal(t, OK, found[2].Severity)
	require.Equal(t, Fail, Worst(found))
}

func vips(prefixes ...string) func(*Host) {
	return func(h *Host) {
		h.Rules.value.VIPs = nil
		for _, p := range prefixes {
			h.Rules.value.VIPs = append(h.Rules.value.VIPs, netip.MustParsePrefix(p))
		}
	}
}

// somePlan is one that is not empty.
func somePlan(t *testing.T) *rules.Plan {
	t.Helper()
	d := cluster.NewDraft()
	i, err := cluster.ParseInstance("192.0.2.9:80")
	require.NoError(t, err)
	d.Service("a", &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: []cluster.Instance{i}})
	plan := rules.Diff(rules.NewState(), rules.Build(nil, d.Snapshot(1), rules.Options{}))
	require.False(t, plan.Empty())
	return plan
}

// noWorse holds the severity that the docs promise to what checks say.
func noWorse(t *testing.T, found []Finding, entries []Entry) {
	t.Helper()
	for _, f := range found {
		for _, e := range entries {
			if e.Name == f.Check && !strings.HasPrefix(f.Seen, "could not be looked at") {
				require.LessOrEqual(t, f.Severity, e.Worst, "%v", f)
			}
		}
	}
}
