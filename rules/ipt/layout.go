package ipt

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/rules"
)

// The tables that we have chains in. Each is a transaction of its own; filter comes first, for it refuses what nat leads
// to it.
const (
	filter = "filter"
	nat    = "nat"
)

var tables = []string{filter, nat}

// ours is what the name of each chain of ours begins with. Nothing without it is ever changed but for the hooks.
const ours = "WEIR-"

// refusedPort is where connections are led that shall be refused: REJECT works in the filter table only, and of the
// filter hooks INPUT is the one that every such packet can be made to reach. Nobody listens on port 1 (tcpmux), so they
// are refused even if somebody flushes the filter table.
const refusedPort = 1

// heldPort is where connections are led that shall be dropped: DROP, too, works in the filter table only. Those of routed
// clients are in INPUT, those of the node itself in OUTPUT, before connection tracking keeps them: so a retry is translated
// anew.
const heldPort = 2

// dispatchers is into how many chains the frontends are spread by the last bits of the VIP: a new connection compares
// with a sixteenth of them.
const dispatchers = 16

// family is what differs between IPv4 and IPv6.
type family struct {
	name        string // as in the words of nft: ip, ip6
	program     string // iptables or ip6tables
	bits        int
	ping        string // matches an echo request
	unreachable string // the name of the ICMP error "port unreachable"
	loopback    string // where REDIRECT leads connections of the node itself, which no instance can be
	names       string // lists the tables that iptables-legacy has made
}

var families = [...]*family{
	{name: "ip", program: "iptables", bits: 32, ping: "-p icmp -m icmp --icmp-type 8", unreachable: "icmp-port-unreachable", loopback: "127.0.0.1", names: "ip_tables_names"},
	{name: "ip6", program: "ip6tables", bits: 128, ping: "-p ipv6-icmp -m icmp6 --icmpv6-type 128", unreachable: "icmp6-port-unreachable", loopback: "::1", names: "ip6_tables_names"},
}

func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return families[0]
	}
	return families[1]
}

func (f *family) has(a netip.Addr) bool { return familyOf(a) == f }

// chain is a chain of ours whose rules never change. Rules are as iptables-save prints them, without "-A CHAIN".
type chain struct {
	table, name string
	rules       []string
}

// hook is a rule in a chain of the kernel that leads to one of ours, or drops what one of ours led there.
type hook struct{ table, parent, rule string }

var hooks = []hook{ // of both families
	{filter, "INPUT", "-m conntrack --ctstate DNAT -j WEIR-INPUT"},
	{filter, "FORWARD", "-j WEIR-FORWARD"},
	{filter, "OUTPUT", "-m conntrack ! --ctstate DNAT -j WEIR-OUTPUT"},
	{nat, "PREROUTING", "-j WEIR-SERVICES"},
	{nat, "OUTPUT", "-j WEIR-SERVICES"},
	{nat, "INPUT", "-j WEIR-LOCAL"},
	{nat, "POSTROUTING", "-j WEIR-POSTROUTING"},
}

// hooks drops what is held of the node's own clients in the kernel's chain itself: versions before this one could not remove a
// chain that a hook leads to which they do not know, and would write nothing at all any more.
func (f *family) hooks() []hook {
	held := fmt.Sprintf("-m conntrack --ctstate DNAT --ctreplsrc %s --ctreplsrcport %d -j DROP", f.loopback, heldPort)
	return append(slices.Clip(slices.Clone(hooks)), hook{filter, "OUTPUT", held})
}

// Chains that hold one rule for each prefix of a set, or for some of them.
const (
	vipsChain    = "WEIR-VIPS"      // pools: whoever comes here asked for a port that no service has
	toVIPsChain  = "WEIR-TO-VIPS"   // connections that were sent to a VIP
	fromVIPChain = "WEIR-FROM-NODE" // connections of this node: masqueraded only if they bear a VIP as their source
)

// setChains hold a set beside the VIPs, each prefix in one rule.
var setChains = map[rules.Set]string{
	rules.Hairpin: "WEIR-HAIRPIN", rules.SameLink: "WEIR-SAME-LINK", rules.KeepSource: "WEIR-KEEP-SOURCE", rules.Pingable: "WEIR-PING",
}

// localChain counts the new connections of this node's instances, from wherever they come.
const localChain = "WEIR-LOCAL"

const masquerade = "-j MASQUERADE --random-fully"

// fixed are the chains that are always there and never change, those that are jumped to first. What each is for:
//
//	filter WEIR-REFUSE       the one place that says no: TCP reset, else port unreachable
//	       WEIR-INPUT        what nat led to the refused port, and to the held one
//	       WEIR-FORWARD      what slipped past nat (INVALID packets, flows bound while the rules were away) would circle
//	       WEIR-OUTPUT       the same for packets of this node, which would reach local listeners
//	nat    WEIR-OTHER        a VIP, but no such port: led to where it is refused
//	       WEIR-NO-ENDPOINT  a service without a target; a name of its own so that a listing says why
//	       WEIR-HOLD         a service that sleeps: led to where it is dropped
//	       WEIR-SERVICES     the entry for routed (PREROUTING) and local clients (OUTPUT), first packet of a connection only
//	       WEIR-REFUSED      a client that a guarded service does not admit; the rule that leads here counts
//	       WEIR-POSTROUTING  counts first; local clients keep their address; of the others ours only are masqueraded
//	       WEIR-MASQ         itself and neighbours on one link always, then the exceptions, then everybody else
func (f *family) fixed() []chain {
	var input, dropped, other, hold []string
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		input = append(input, fmt.Sprintf("-p %s -m %s --dport %d -g WEIR-REFUSE", proto, proto, refusedPort))
		other = append(other, fmt.Sprintf("-p %s -j REDIRECT --to-ports %d", proto, refusedPort))
		dropped = append(dropped, fmt.Sprintf("-p %s -m %s --dport %d -j DROP", proto, proto, heldPort))
		hold = append(hold, fmt.Sprintf("-p %s -j REDIRECT --to-ports %d", proto, heldPort))
	}
	services := []string{f.ping + " -j " + setChains[rules.Pingable]}
	for i := range dispatchers {
		services = append(services, fmt.Sprintf("-d %s/%s -j %s", f.lastBits(byte(i)), f.lastBits(dispatchers-1), dispatcher(byte(i))))
	}
	return []chain{
		{filter, "WEIR-REFUSE", []string{"-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT --reject-with " + f.unreachable}},
		{filter, "WEIR-INPUT", append(input, dropped...)},
		{filter, "WEIR-FORWARD", []string{"-o weir0 -g WEIR-REFUSE", "-o lo -g WEIR-REFUSE"}},
		{filter, "WEIR-OUTPUT", []string{"-o weir0 -g WEIR-REFUSE", "-o lo -m addrtype --dst-type UNICAST -g WEIR-REFUSE"}},
		{nat, "WEIR-OTHER", other},
		{nat, "WEIR-NO-ENDPOINT", []string{"-g WEIR-OTHER"}},
		{nat, "WEIR-REFUSED", []string{"-g WEIR-OTHER"}},
		{nat, "WEIR-HOLD", hold},
		{nat, "WEIR-SERVICES", append(services, "-j "+vipsChain)},
		{nat, "WEIR-MASQ", []string{"-j " + setChains[rules.Hairpin], "-j " + setChains[rules.SameLink], "-g " + setChains[rules.KeepSource]}},
		{nat, "WEIR-POSTROUTING", []string{
			"-j " + localChain, "-m conntrack ! --ctstate DNAT -j RETURN", "-m addrtype --src-type LOCAL -g " + fromVIPChain, "-j " + toVIPsChain,
		}},
	}
}

// variable are the chains of nat that are always there and hold what changes.
func variable() []string {
	names := []string{vipsChain, toVIPsChain, fromVIPChain, localChain}
	for _, set := range rules.Sets {
		if name, ok := setChains[set]; ok {
			names = append(names, name)
		}
	}
	for i := range dispatchers {
		names = append(names, dispatcher(byte(i)))
	}
	return names
}

// lastBits is the address whose bits are all zero but for those of the last byte.
func (f *family) lastBits(b byte) netip.Addr {
	bytes := make([]byte, f.bits/8)
	bytes[len(bytes)-1] = b
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// dispatcher is the chain of the frontends whose VIP ends with these bits.
func dispatcher(bits byte) string { return fmt.Sprintf("WEIR-SERVICES-%d", bits) }

func dispatcherOf(vip netip.Addr) string {
	bytes := vip.AsSlice()
	return dispatcher(bytes[len(bytes)-1] % dispatchers)
}

// chainOfVIPs is where a prefix of the VIPs is told from other addresses, behind all frontends in it.
func chainOfVIPs(p netip.Prefix) string {
	if p.IsSingleIP() {
		return dispatcherOf(p.Addr())
	}
	return vipsChain
}

// setRules are the rules of a chain that holds a set.
func (f *family) setRules(set rules.Set, prefixes []netip.Prefix) (out []string) {
	for _, p := range prefixes {
		if !f.has(p.Addr()) {
			continue
		}
		switch set {
		case rules.KeepSource:
			out = append(out, fmt.Sprintf("-s %s -j RETURN", p))
		case rules.Pingable:
			out = append(out, fmt.Sprintf("-d %s -j REDIRECT", p))
		default:
			out = append(out, fmt.Sprintf("-s %s -d %s %s", p, p, masquerade))
		}
	}
	if set == rules.KeepSource {
		out = append(out, masquerade)
	}
	return out
}

// vipRules are the rules that a prefix of the VIPs has, by chain, in the order in which they are written.
func vipRules(p netip.Prefix) [3][2]string {
	return [...][2]string{
		{chainOfVIPs(p), fmt.Sprintf("-d %s -j WEIR-OTHER", p)},
		{toVIPsChain, fmt.Sprintf("-m conntrack --ctorigdst %s -g WEIR-MASQ", bare(p))},
		{fromVIPChain, fmt.Sprintf("-s %s %s", p, masquerade)},
	}
}

// bare is a prefix as the conntrack match prints it: without the length of a single address.
func bare(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// builtin says whether a chain is the kernel's own and one that we hook into.
func builtin(table, name string) bool {
	return slices.ContainsFunc(hooks, func(h hook) bool { return h.table == table && h.parent == name })
}
