package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// tableName is our table in each family. Nothing outside it is ever changed or needed, nor read but by Neighbours.
const tableName = "weir"

// layout numbers the form of the table. A chain of that name and without rules stands in it, so that a program can tell
// a table whose names may mean something else to the newer one that wrote it.
const layout = 3

func layoutName(n int) string { return fmt.Sprintf("layout-%d", n) }

// shards is the number of endpoint maps: dumping one big map takes time beyond proportion to its size (200,000 elements
// in one map 16 s, in sixteen 1.4 s).
const shards = 16

// setSpec is a set or map of the table.
type setSpec struct {
	name    string
	key     []nftables.SetDatatype
	data    []nftables.SetDatatype // of a map
	flags   setFlags
	size    uint32        // at most so many elements; 0: any number
	timeout time.Duration // of each element; 0: they stay
	typeof  string        // the key as nft prints it where a plain type is not enough
	ofSet   rules.Set
	holding bool // it holds the prefixes of ofSet
}

type setFlags uint8

const (
	interval setFlags = 1 << iota
	counter
	dynamic // the kernel fills it
)

// refusedSize bounds what the kernel may put into the set of refused clients' frontends: only guarded ones get there.
const refusedSize = 65536

// wakingTime is how long the agent is not told again of connections to a frontend that is held.
const wakingTime = time.Second

// wakingSize bounds how many frontends may be told of within that time. Of more only the drop remains, and the next retry.
const wakingSize = 65536

func endpointsName(shard int) string { return fmt.Sprintf("endpoints-%d", shard) }

// sets of one family. The slot is typed mark: a 32-bit number in host order, which nft 1.0.6 lists well.
func (f *family) sets() []setSpec {
	frontend := []nftables.SetDatatype{f.addrType, nftables.TypeInetProto, nftables.TypeInetService}
	pair := []nftables.SetDatatype{f.addrType, f.addrType}
	specs := []setSpec{
		{name: "services", key: frontend, data: []nftables.SetDatatype{nftables.TypeVerdict}, flags: counter},
		{name: "guards", key: frontend, data: []nftables.SetDatatype{nftables.TypeVerdict}, flags: counter},
		{name: "sources", key: append(frontend[:3:3], f.addrType), flags: interval | counter},
		{name: "refused", key: frontend, flags: dynamic | counter, size: refusedSize},
		{name: "waking", key: frontend, flags: dynamic, size: wakingSize, timeout: wakingTime},
		{name: "local", key: frontend, flags: counter},
		{name: "vips", key: pair[:1], flags: interval, ofSet: rules.VIPs, holding: true},
		{name: "pingable", key: pair[:1], ofSet: rules.Pingable, holding: true},
		{name: "keep-source", key: pair[:1], flags: interval, ofSet: rules.KeepSource, holding: true},
		{name: "same-link", key: pair, flags: interval, ofSet: rules.SameLink, holding: true},
		{name: "hairpin", key: pair, ofSet: rules.Hairpin, holding: true},
	}
	for shard := range shards {
		specs = append(specs, setSpec{
			name: endpointsName(shard), flags: counter,
			key:    append(frontend[:3:3], nftables.TypeMark),
			data:   []nftables.SetDatatype{f.addrType, nftables.TypeInetService},
			typeof: f.name + " daddr . meta l4proto . th dport . numgen random mod 65536 : " + f.name + " daddr . th dport",
		})
	}
	return specs
}

// chainSpec is a chain of the table: what it hooks into, and its rules.
type chainSpec struct {
	name  string
	hook  *hook
	rules []rule
}

// hook makes a chain a base chain. Priorities are those that nft calls dstnat, filter and srcnat.
type hook struct {
	kind     nftables.ChainType
	num      nftables.ChainHook
	priority nftables.ChainPriority
	text     string
}

// rule is one rule twice: as the kernel reports it, and as nft prints it. A test holds the two together.
type rule struct {
	exprs []expr.Any
	text  string
}

// chains of one family that are always there. Their order is that of the listing; a chain stands behind those that it
// jumps to. What each is for:
//
//	refuse        the one place that says no: TCP reset, else port unreachable
//	no-endpoint   a service without a target; a name of its own so that a listing says why
//	guarded       a service that only some clients may connect to; only such services' connections come here
//	other         a VIP, but no such port; ping is answered by the node itself, so that no VIP becomes an address
//	dispatch      entry for both hooks, first packet of a connection only: one lookup for VIP traffic, two for the rest
//	prerouting    clients that are routed through this node
//	output        clients on this node
//	postrouting   our connections only: "ct status dnat" alone would catch other programs' port mappings as well
//	masq          order matters: VIP as source always; local clients never; itself and neighbours on one link always;
//	              then the exceptions; then everybody else
//	local-out     new connections to this node's instances are counted: those that are forwarded to them, or made here
//	local-in      the same for instances of the node itself, whose connections arrive. Both look before anybody rewrites
//	              the source, since a nat hook that has its answer asks no further chain; and a connection that was
//	              counted on its way out is not asked about again on its way in over lo
//	stray-*       what slips past nat (INVALID packets, flows bound while the table was away) would circle over lo or
//	              reach local listeners
//	keep          no hook; its ct expression keeps connection tracking registered while there is no service
//	layout-*      no rule; see layout
func (f *family) chains() []chainSpec {
	nat := func(name string, num *nftables.ChainHook, priority nftables.ChainPriority, text string, rules ...rule) chainSpec {
		return chainSpec{name, &hook{nftables.ChainTypeNAT, *num, priority, text}, rules}
	}
	filter := func(name string, num *nftables.ChainHook, text string, rules ...rule) chainSpec {
		return chainSpec{name, &hook{nftables.ChainTypeFilter, *num, 0, text}, rules}
	}
	return []chainSpec{
		{name: "refuse", rules: []rule{
			f.rule("reject with tcp reset", f.protocol(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}),
			f.rule("reject", &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.unreachable}),
		}},
		{name: "no-endpoint", rules: []rule{f.rule("goto refuse", gotoChain("refuse"))}},
		{name: "guarded", rules: []rule{
			f.rule(f.name+" daddr . meta l4proto . th dport . "+f.name+" saddr @sources "+f.name+" daddr . meta l4proto . th dport vmap @guards",
				f.frontend(), f.addr(f.saddr, f.slot), in("sources"), f.frontend(), verdictOf("guards")),
			f.rule("update @refused { "+f.name+" daddr . meta l4proto . th dport }", f.frontend(), note("refused")),
			f.rule("goto refuse", gotoChain("refuse")),
		}},
		{name: "other", rules: []rule{
			f.rule(f.icmpName+" type echo-request "+f.name+" daddr @pingable redirect", f.protocol(f.icmp), f.echo(), f.addr(f.daddr, 1), in("pingable"), &expr.Redir{}),
			f.rule("counter packets 0 bytes 0", &expr.Counter{}),
			f.rule("goto refuse", gotoChain("refuse")),
		}},
		{name: "dispatch", rules: []rule{
			f.rule(f.name+" daddr . meta l4proto . th dport vmap @services", f.frontend(), verdictOf("services")),
			f.rule(f.name+" daddr @vips goto other", f.addr(f.daddr, 1), in("vips"), gotoChain("other")),
		}},
		nat("prerouting", nftables.ChainHookPrerouting, -100, "type nat hook prerouting priority dstnat; policy accept;",
			f.rule("jump dispatch", jumpChain("dispatch"))),
		nat("output", nftables.ChainHookOutput, -100, "type nat hook output priority -100; policy accept;",
			f.rule("jump dispatch", jumpChain("dispatch"))),
		{name: "masq", rules: []rule{
			f.rule(f.name+" saddr @vips masquerade fully-random", f.addr(f.saddr, 1), in("vips"), masquerade),
			f.rule("fib saddr type local return", localSource, accessReturn),
			f.rule(f.name+" saddr . "+f.name+" daddr @hairpin masquerade fully-random", f.addr(f.saddr, 1), f.addr(f.daddr, f.second), in("hairpin"), masquerade),
			f.rule(f.name+" saddr . "+f.name+" daddr @same-link masquerade fully-random", f.addr(f.saddr, 1), f.addr(f.daddr, f.second), in("same-link"), masquerade),
			f.rule(f.name+" saddr @keep-source return", f.addr(f.saddr, 1), in("keep-source"), accessReturn),
			f.rule("masquerade fully-random", masquerade),
		}},
		nat("postrouting", nftables.ChainHookPostrouting, 100, "type nat hook postrouting priority srcnat; policy accept;",
			f.rule("ct status dnat ct original "+f.name+" daddr @vips goto masq", ctStatusDNAT, f.originalDestination(), in("vips"), gotoChain("masq"))),
		nat("local-out", nftables.ChainHookPostrouting, 95, "type nat hook postrouting priority srcnat - 5; policy accept;", f.countLocal()),
		nat("local-in", nftables.ChainHookInput, 95, "type nat hook input priority 95; policy accept;", f.countLocal()),
		filter("stray-forward", nftables.ChainHookForward, "type filter hook forward priority filter; policy accept;",
			f.rule(`oif "lo" counter packets 0 bytes 0 goto refuse`, outLoopback, &expr.Counter{}, gotoChain("refuse"))),
		filter("stray-output", nftables.ChainHookOutput, "type filter hook output priority filter; policy accept;",
			f.rule(`oif "lo" `+f.name+` daddr @vips counter packets 0 bytes 0 goto refuse`, outLoopback, f.addr(f.daddr, 1), in("vips"), &expr.Counter{}, gotoChain("refuse"))),
		{name: "keep", rules: []rule{f.rule("ct state established", ctStateEstablished)}},
		{name: layoutName(layout)},
	}
}

func (f *family) countLocal() rule {
	return f.rule(f.name+" daddr . meta l4proto . th dport @local", f.frontend(), in("local"))
}

// holdName is the chain of frontends whose service sleeps.
const holdName = "hold"

// hold drops without an answer, so that the client's retry decides anew, and tells the agent: of each frontend once while it
// is in the set. Where that is full nothing is told, for then the second rule ends at its first half. The chain is made on
// first need, since a kernel may be without what logs (nft_log, nfnetlink_log).
func (f *family) hold() chainSpec {
	key := f.name + " daddr . meta l4proto . th dport"
	return chainSpec{name: holdName, rules: []rule{
		f.rule(key+" @waking drop", f.frontend(), in("waking"), &expr.Verdict{Kind: expr.VerdictDrop}),
		f.rule(fmt.Sprintf(`add @waking { %s } log prefix "%s" group %d snaplen %d queue-threshold 1`, key, rules.WakePrefix, rules.WakeGroup, rules.WakeSnaplen),
			f.frontend(), add("waking"), toldBy()),
		f.rule("drop", &expr.Verdict{Kind: expr.VerdictDrop}),
	}}
}

// balancer is the chain of all frontends of one shard that choose from the same number of slots in the same way. Its
// last rule is reached only when a slot is missing: drop leaves no connection tracking entry, so that the client's retry
// decides anew; without it the packet would leave untranslated.
func (f *family) balancer(shard int, mode rules.Mode, size int) chainSpec {
	choose, text := f.random(size), fmt.Sprintf("numgen random mod %d", size)
	if mode == rules.Source {
		choose, text = f.bySource(size), fmt.Sprintf("jhash %s saddr mod %d seed 0x%x", f.name, size, rules.SourceSeed)
	}
	return chainSpec{name: balancerName(shard, mode, size), rules: []rule{
		f.rule(fmt.Sprintf("dnat %s to %s daddr . meta l4proto . th dport . %s map @%s", f.name, f.name, text, endpointsName(shard)),
			f.frontend(), choose, targetFrom(endpointsName(shard)), f.dnat()),
		f.rule("drop", &expr.Verdict{Kind: expr.VerdictDrop}),
	}}
}

// onNeed is a chain that is not always there, by its name.
func (f *family) onNeed(name string) (chainSpec, bool) {
	if name == holdName {
		return f.hold(), true
	}
	shard, mode, size, ok := parseBalancer(name)
	if !ok {
		return chainSpec{}, false
	}
	return f.balancer(shard, mode, size), true
}

func balancerName(shard int, mode rules.Mode, size int) string {
	if mode == rules.Source {
		return fmt.Sprintf("lbh-%d-%d", shard, size)
	}
	return fmt.Sprintf("lb-%d-%d", shard, size)
}
