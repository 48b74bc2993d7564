package nft

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/rules"
)

// stranger is another program's table with a port mapping, as a container engine makes it.
const stranger = `table ip stranger {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 8088 dnat to 172.17.0.2:80
	}
}
`

// blocks are the chains and sets of a listing by table, without what was counted and who was made first.
func blocks(listing string) map[string][]string {
	out := map[string][]string{}
	for table := range strings.SplitSeq("\n"+withoutCounters(listing), "\ntable ") {
		name, body, _ := strings.Cut(table, " {\n")
		out[name] = strings.Split(strings.TrimSuffix(strings.TrimSpace(body), "\n}"), "\n\n\t")
		for i, block := range out[name] {
			if strings.HasPrefix(block, "set sources ") { // such a set is listed in the order in which it was filled
				words := strings.Fields(strings.ReplaceAll(block, ",", " "))
				slices.Sort(words)
				out[name][i] = strings.Join(words, " ")
			}
		}
		slices.Sort(out[name])
	}
	return out
}

// What somebody else does to our tables is seen by Read, and repaired by Apply: exactly that, and nothing else.
func TestDrift(t *testing.T) {
	t.Parallel()
	const element, some = "10.10.1.1 . tcp . 80", "10.10.1.6 . tcp . 80"
	for _, c := range []struct {
		name, script string
		seen         string // what Read says, line by line
		plan         string // a line of the plan
		writes       int
	}{
		{"nothing", "", "", "", 0},
		{"rule added at the end", "add rule ip weir dispatch counter accept", "ip chain dispatch: rule 3 is not ours", "", 1},
		{"rule added in front", "insert rule ip weir prerouting tcp dport 22 accept", "ip chain prerouting: rule 1 differs", "", 1},
		{"rules gone", "flush chain ip6 weir masq", "ip6 chain masq: rule 1 is missing", "", 1},
		{"balancer chain emptied", "flush chain ip weir lb-2-2", "ip chain lb-2-2: rule 1 is missing", "", 1},
		{"rule replaced", "flush chain ip weir keep; add rule ip weir keep ct state new", "ip chain keep: rule 1 differs", "", 1},
		{"chain added", "add chain ip weir theirs; add rule ip weir theirs drop", "ip chain theirs: is not ours", "", 1},
		{"chain added and jumped to", "add chain ip weir theirs; add rule ip weir other jump theirs", "ip chain other: rule 4 is not ours\nip chain theirs: is not ours", "", 2},
		{"chain added that an entry leads to",
			"add chain ip weir theirs; delete element ip weir services { " + element + " }; add element ip weir services { " + element + " : goto theirs }",
			"ip chain theirs: is not ours", "10.10.1.1:80 unknown", 2},
		{"base chain added", "add chain ip weir theirs { type filter hook input priority 0; policy accept; }; add rule ip weir theirs accept", "ip chain theirs: is not ours", "", 1},
		{"chain gone", "flush chain ip weir postrouting; delete chain ip weir postrouting", "ip chain postrouting: missing", "", 1},
		{"base chain at another hook", "delete chain ip weir output; add chain ip weir output { type nat hook input priority 100; }", "ip chain output: hooks into the wrong place", "", 1},
		{"base chain at another priority", "delete chain ip weir stray-output; add chain ip weir stray-output { type filter hook output priority 10; }", "ip chain stray-output: hooks into the wrong place", "", 1},
		{"base chain that drops", "add chain ip weir stray-forward { policy drop; }", "ip chain stray-forward: hooks into the wrong place", "", 1},
		{"set added", "add set ip weir theirs { type ipv4_addr; }", "ip set theirs: is not ours", "", 1},
		{"set added, and a rule that asks it", "add set ip weir theirs { type ipv4_addr; }; add rule ip weir other ip saddr @theirs drop", "ip set theirs: is not ours\nip chain other: rule 4 is not ours", "", 2},
		{"map added that leads to a chain added", "add chain ip weir theirs; add map ip weir theirs { type ipv4_addr : verdict; }; add element ip weir theirs { 1.1.1.1 : goto theirs }", "ip set theirs: is not ours\nip chain theirs: is not ours", "", 2},
		{"entry added", "add element ip weir services { 10.10.1.77 . tcp . 80 : goto lb-2-2 }", "", "10.10.1.77:80 unknown -> absent", 1},
		{"entry gone", "delete element ip weir services { " + element + " }", "", element1 + " absent -> random 2", 1},
		{"entry changed", "delete element ip weir services { " + element + " }; add element ip weir services { " + element + " : goto no-endpoint }", "", element1 + " refuse -> random 2", 1},
		{"slot gone", "delete element ip weir endpoints-2 { " + element + " . 1 }", "", element1 + " random 2: +192.168.10.2:8080", 1},
		{"slot changed", "delete element ip weir endpoints-2 { " + element + " . 1 }; add element ip weir endpoints-2 { " + element + " . 1 : 6.6.6.6 . 80 }", "", element1 + " random 2: -6.6.6.6:80 +192.168.10.2:8080", 1},
		{"slot added", "add element ip weir endpoints-2 { " + element + " . 2 : 6.6.6.6 . 80 }", "", element1 + " random 2: -6.6.6.6:80", 2},
		{"slot in another's map", "add element ip weir endpoints-3 { " + element + " . 0 : 6.6.6.6 . 80 }", "ip map endpoints-3: holds a foreign element 0a0a01010600000000500000" + zeroSlot, "", 1},
		{"slot beyond belief", "add element ip weir endpoints-2 { " + element + " . 16777216 : 6.6.6.6 . 80 }", "ip map endpoints-2: holds a foreign element 0a0a0101060000000050000000000001", "", 1},
		{"guard gone", "delete element ip weir guards { " + some + " }", "", some1 + " absent for 10.30.0.0/24 10.40.0.7/32 -> random 2 for", 1},
		{"guard changed", "delete element ip weir guards { " + some + " }; add element ip weir guards { " + some + " : goto no-endpoint }", "", some1 + " refuse for 10.30.0.0/24 10.40.0.7/32 -> random 2 for", 1},
		{"guard of an open service", "add element ip weir guards { " + element + " : goto lb-2-2 }", "", element1 + " random 2, a guard left over (random 2, 0 sources) -> random 2", 1},
		{"guard circumvented", "delete element ip weir services { " + some + " }; add element ip weir services { " + some + " : goto lb-11-2 }", "", some1 + " random 2, a guard left over (random 2, 2 sources) -> random 2 for", 1},
		{"source added", "add element ip weir sources { " + some + " . 0.0.0.0/1 }", "", some1 + " random 2 for 0.0.0.0/1 10.30", 1},
		{"source widened", "delete element ip weir sources { " + some + " . 10.30.0.0/24 }; add element ip weir sources { " + some + " . 10.0.0.0/8 }", "", some1 + " random 2 for 10.0.0.0/8 10.40.0.7/32 -> random 2 for 10.30.0.0/24 10.40.0.7/32", 2},
		{"source gone", "delete element ip weir sources { " + some + " . 10.40.0.7 }", "", some1 + " random 2 for 10.30.0.0/24 -> random 2 for 10.30.0.0/24 10.40.0.7/32", 1},
		{"source that is a range", "add element ip weir sources { " + some + " . 10.50.0.1-10.50.0.2 }", "ip map sources: holds a foreign element 0a0a01060600000000500000" + "0a320001", "", 1},
		{"source of a range of ports", "add element ip weir sources { 10.10.1.6 . tcp . 90-99 . 10.50.0.1 }", "ip map sources: holds a foreign element 0a0a010606000000005a0000" + "0a320001", "", 1},
		{"source of an open service", "add element ip weir sources { " + element + " . 10.50.0.0/24 }", "", element1 + " random 2, a guard left over (absent, 1 sources) -> random 2", 1},
		{"ping silenced", "flush set ip weir pingable", "", "pingable + 10.10.1.1/32", 7},
		{"counted here no more", "delete element ip weir local { 192.168.10.1 . tcp . 81 }", "", "local + 192.168.10.1:81", 1},
		{"counted here too", "add element ip6 weir local { fd00::9 . tcp . 81 }", "", "local - [fd00::9]:81", 1},
		{"named counter added, and a rule that counts in it", "add counter ip weir theirs; add rule ip weir dispatch counter name theirs", "ip chain dispatch: rule 3 is not ours\nip object theirs: is not ours", "", 2},
		{"quota added", "add quota ip6 weir theirs { 10 mbytes }", "ip6 object theirs: is not ours", "", 1},
		{"set of services that does not count", "delete table ip6 weir; " + uncounted, "table ip6 weir: set services does not count", "", 27},
		{"a later layout", "delete chain ip weir layout-3; add chain ip weir layout-4; add chain ip weir novelty; add set ip weir novel { type ipv4_addr; }", "table ip weir: was written by a newer version (layout 4, this one writes 3)", "", 0},
		{"an earlier layout", "delete chain ip weir layout-3; add chain ip weir layout-2", "ip chain layout-3: missing\nip chain layout-2: is not ours", "", 2},
		{"what holds does not tell", "flush chain ip weir hold; add rule ip weir hold drop", "ip chain hold: rule 1 differs", "", 1},
		{"VIP set emptied", "flush set ip weir vips", "", "vips + 10.10.1.0/29", 1},
		{"VIP set too wide", "add element ip weir vips { 10.99.0.0/16 }", "", "vips - 10.99.0.0/16", 1},
		{"VIP set with a range", "add element ip weir vips { 10.99.0.1-10.99.0.2 }", "ip set vips: holds 10.99.0.1-10.99.0.2 is no prefix", "vips + 10.10.1.0/29", 2},
		{"pair of two", "add element ip weir hairpin { 1.1.1.1 . 2.2.2.2 }", "ip set hairpin: holds a pair of two different ranges", "hairpin + 192.168.10.1/32", 3},
		{"table gone", "delete table ip6 weir", "table ip6 weir: missing", "", 27},
		{"everything gone", "flush ruleset", "table ip weir: missing\ntable ip6 weir: missing", "", 0},
		{"table switched off", "add table ip6 weir { flags dormant; }", "table ip6 weir: switched off", "", 27},
		{"map of another type", "delete table ip6 weir; add table ip6 weir; add map ip6 weir services { type ipv6_addr : verdict; }", "table ip6 weir: set services has another type", "", 27},
		{"set of an odd type added", "add set ip6 weir theirs { typeof meta cgroup . meta time; }", "ip6 set theirs: is not ours", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := namespace(t)
			d := open(t, ns, OwnOff)
			nft(t, ns, stranger)
			want := story()
			install(t, d, want)
			before := listing(t, ns)

			nft(t, ns, c.script)
			if strings.Contains(c.script, "flush ruleset") {
				nft(t, ns, stranger)
			}
			have := read(t, d)
			var seen []string
			for _, damage := range have.Damage {
				seen = append(seen, damage.Object+": "+damage.What)
			}
			require.Equal(t, c.seen, strings.Join(seen, "\n"))
			plan := rules.Diff(have, want)
			require.Contains(t, plan.String(), c.plan)
			if c.writes > 0 || c.script == "" {
				require.Equal(t, c.writes, plan.Writes(), "%s", plan)
			}
			require.NoError(t, d.Apply(t.Context(), plan))
			again := read(t, d)
			require.Empty(t, again.Damage)
			require.Empty(t, rules.Diff(again, want).String())
			require.Equal(t, blocks(before), blocks(listing(t, ns)))
		})
	}
}

const element1, some1 = "10.10.1.1:80", "10.10.1.6:80"

// uncounted is our table of family ip6, but its map of services does not count.
var uncounted = strings.Replace(Text(story())[strings.Index(Text(story()), "table ip6"):], "\t\tcounter\n", "", 1)

const zeroSlot = "00000000"

// A set of a type that not even the library knows must not keep us from reading for ever: the table is made anew.
func TestDriftBeyondUnderstanding(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnOff)
	want := story()
	install(t, d, want)
	foreign, err := nftables.New(nftables.WithNetNSFd(ns))
	require.NoError(t, err)
	odd := nftables.SetDatatype{Bytes: 4}
	odd.SetNFTMagic(63)
	require.NoError(t, foreign.AddSet(&nftables.Set{Table: &nftables.Table{Name: "weir", Family: nftables.TableFamilyIPv6}, Name: "odd", KeyType: odd}, nil))
	require.NoError(t, foreign.Flush())

	state := read(t, d)
	require.Len(t, state.Damage, 1)
	require.Equal(t, "table ip6 weir", state.Damage[0].Object)
	require.Contains(t, state.Damage[0].What, "cannot be understood")
	require.Contains(t, state.Placed, frontend("10.10.1.1:80"), "the other family is read")
	require.NotContains(t, state.Placed, frontend("[fd10::1]:80"))
	require.NoError(t, d.Apply(t.Context(), rules.Diff(state, want)))
	require.Empty(t, rules.Diff(read(t, d), want).String())
}

// A repair leaves other programs' tables untouched: their listing with handles is the same to the byte.
func TestOnlyOurs(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	nft(t, ns, stranger+"table inet other { set s { type ipv4_addr; elements = { 1.1.1.1 }; }\n chain weir { type filter hook input priority 0; ip saddr @s counter drop\n }\n}\n table bridge weir { chain c { }\n }\n")
	theirs := func() string {
		var all string
		for _, table := range []string{"ip stranger", "inet other", "bridge weir"} {
			out, err := inside(ns, "", "nft", "-a", "list", "table", strings.Fields(table)[0], strings.Fields(table)[1])
			require.NoError(t, err, out)
			all += out
		}
		return all
	}
	before := theirs()
	d := open(t, ns, OwnOff)
	install(t, d, story())
	require.Equal(t, before, theirs(), "installed")
	nft(t, ns, "flush table ip weir; delete table ip6 weir")
	install(t, d, story())
	require.Equal(t, before, theirs(), "repaired")
	require.NoError(t, d.Clean(t.Context()))
	require.Equal(t, before, theirs(), "cleaned")
	require.NotContains(t, listing(t, ns), "table ip weir")
	require.NotContains(t, listing(t, ns), "table ip6 weir")
	require.NoError(t, d.Clean(t.Context()), "cleaning twice")
}
