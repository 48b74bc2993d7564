package ipt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// stranger is what other programs have on the host: a port mapping, and a policy.
const stranger = `*nat
:STRANGER - [0:0]
-A PREROUTING -j STRANGER
-A STRANGER -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
-A INPUT -s 192.0.2.0/24 -j DROP
COMMIT
`

// theirNAT puts the stranger's rules back after a flush.
const theirNAT = "|-t nat -A PREROUTING -j STRANGER|-t nat -A STRANGER -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80"

// as runs iptables in a namespace as somebody else would. The programs of all namespaces share one lock.
func as(t require.TestingT, ns int, v Variant, f *family, command string) {
	out, err := rulestest.Inside(ns, "", append([]string{f.program + "-" + string(v), "-w", "60"}, strings.Fields(command)...)...)
	require.NoError(t, err, "%s: %s", command, out)
}

// What somebody else does to our chains is seen by Read, and repaired by Apply: that, and nothing of others.
func TestDrift(t *testing.T) {
	t.Parallel()
	want := story()
	web, none := rulestest.Frontend("10.10.1.1:80"), rulestest.Frontend("10.10.1.2:80")
	entry := dispatcherOf(web.VIP) + " " + entryOf(web)
	for _, c := range []struct {
		name, commands string
		seen           string // what the plan says, in parts
	}{
		{"rule added at the end", "-t nat -A WEIR-OTHER -j ACCEPT", "ip nat chain WEIR-OTHER: differs"},
		{"rule added in front", "-t nat -I WEIR-SERVICES 1 -p tcp --dport 22 -j ACCEPT", "ip nat chain WEIR-SERVICES: differs"},
		{"rule gone", "-D WEIR-REFUSE 1", "ip filter chain WEIR-REFUSE: differs"},
		{"hook gone", "-t nat -D OUTPUT -j WEIR-SERVICES", "ip nat chain OUTPUT: does not lead to ours"},
		{"hook twice", "-t nat -A OUTPUT -j WEIR-SERVICES", "ip nat chain OUTPUT: leads to ours more than once"},
		{"chain added", "-t nat -N WEIR-THEIRS", "ip nat chain WEIR-THEIRS: is not ours"},
		{"chain added, and a rule that leads to it", "-t nat -N WEIR-THEIRS|-t nat -A WEIR-MASQ -j WEIR-THEIRS", "ip nat chain WEIR-THEIRS: is not ours"},
		{"entry gone", "-t nat -D " + entry, "10.10.1.1:80 absent -> random 4"},
		{"entry twice", "-t nat -A " + entry, "holds a foreign rule: " + entryOf(web)},
		{"entry behind the refusal", "-t nat -D " + entry + "|-t nat -A " + entry, "holds a foreign rule: " + entryOf(web)},
		{"entry of nobody", "-t nat -N WEIR-F-0000000000000|-t nat -I WEIR-SERVICES-7 -d 10.10.1.7/32 -p tcp -m tcp --dport 80 -j WEIR-F-0000000000000", "holds a foreign rule: -d 10.10.1.7/32"},
		{"targets gone", "-t nat -F " + chainOf(web), "10.10.1.1:80 unknown -> random 4"},
		{"target added", "-t nat -A " + chainOf(web) + " -p tcp -j DNAT --to-destination 6.6.6.6:80", "10.10.1.1:80 unknown -> random 4"},
		{"probability changed", "-t nat -R " + chainOf(web) + ` 1 -p tcp -m comment --comment XofY -m statistic --mode random --probability 0.5 -j DNAT --to-destination 192.168.10.1:8080`, "10.10.1.1:80 unknown -> random 4"},
		{"refusal turned into a target", "-t nat -F " + chainOf(none) + "|-t nat -A " + chainOf(none) + " -p tcp -j DNAT --to-destination 6.6.6.6:80", "10.10.1.2:80 unknown -> refuse"},
		{"VIP gone", "-t nat -D WEIR-SERVICES-1 -d 10.10.1.1/32 -j WEIR-OTHER", "vips + 10.10.1.1/32"},
		{"VIP added", "-t nat -A WEIR-VIPS -d 10.99.0.0/16 -j WEIR-OTHER", "vips - 10.99.0.0/16"},
		{"masquerade emptied", "-t nat -F WEIR-TO-VIPS", "ip nat chain WEIR-TO-VIPS: differs"},
		{"exception added", "-t nat -I WEIR-KEEP-SOURCE 1 -s 10.0.0.0/8 -j RETURN", "keep-source - 10.0.0.0/8"},
		{"nonsense in a set", "-t nat -I WEIR-KEEP-SOURCE 1 -p udp -j RETURN", "ip nat chain WEIR-KEEP-SOURCE: differs"},
		{"counted stranger", "-t nat -A WEIR-LOCAL -d 10.0.0.1/32 -p tcp -m tcp --dport 80", "local - 10.0.0.1:80"},
		{"nonsense counted", "-t nat -A WEIR-LOCAL -j ACCEPT", "ip nat chain WEIR-LOCAL: holds a foreign rule"},
		{"nat flushed", "-t nat -F" + theirNAT, "10.10.1.1:80 absent -> random 4"},
		{"filter flushed and its chains removed", "-F|-X|-A INPUT -s 192.0.2.0/24 -j DROP", "ip filter table: our chains are missing"},
		{"nat flushed and its chains removed", "-t nat -F|-t nat -X|-t nat -N STRANGER" + theirNAT, "ip nat table: our chains are missing"},
	} {
		for _, v := range variants {
			t.Run(c.name+", "+string(v), func(t *testing.T) {
				t.Parallel()
				ns := rulestest.Namespace(t)
				load(t, ns, v, families[0], stranger, "--noflush")
				d := open(v, ns)
				rulestest.Install(t, d, want)
				before := listed(t, ns, v, families[0])
				for command := range strings.SplitSeq(c.commands, "|") {
					as(t, ns, v, families[0], command)
				}
				have, err := d.Read(t.Context())
				require.NoError(t, err)
				plan := rules.Diff(have, want)
				require.Contains(t, plan.String(), c.seen)
				require.NoError(t, d.Apply(t.Context(), plan))
				again, err := d.Read(t.Context())
				require.NoError(t, err)
				require.Empty(t, rules.Diff(again, want).String())
				require.ElementsMatch(t, strings.Split(before, "\n"), strings.Split(listed(t, ns, v, families[0]), "\n"))
			})
		}
	}
}

// Clean takes away what is ours, and leaves others' rules as they are.
func TestClean(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		ns := rulestest.Namespace(t)
		load(t, ns, v, families[0], stranger, "--noflush")
		before := listed(t, ns, v, families[0])
		d := open(v, ns)
		rulestest.Install(t, d, story())
		require.NotEqual(t, before, listed(t, ns, v, families[0]))
		require.NoError(t, d.Clean(t.Context()))
		require.Equal(t, before, listed(t, ns, v, families[0]))
		require.NotContains(t, listed(t, ns, v, families[1]), ours)
		require.NoError(t, d.Clean(t.Context()), "cleaning twice")
	}
}

// Foreign changes are told, our own are not, and Watch ends with its context.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			ns := rulestest.Namespace(t)
			d := open(v, ns)
			told := make(chan rules.Foreign, 100)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- d.Watch(ctx, func(f rules.Foreign) { told <- f }) }() // before the programs are found
			rulestest.Install(t, d, story())
			select {
			case f := <-told:
				t.Fatalf("told of our own change: %+v", f)
			case <-time.After(3 * lookEvery):
			}
			as(t, ns, v, families[1], "-t nat -D PREROUTING -j WEIR-SERVICES")
			select {
			case f := <-told:
				require.Contains(t, f.What, "ip6tables")
				if v == NFT {
					require.Contains(t, f.What, "chain PREROUTING: rule deleted")
					require.Contains(t, f.Who, "ip6tables-nft (pid ")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("a foreign change is not told")
			}
			cancel()
			require.NoError(t, <-ended)
		})
	}
}

// Whoever looks at the sizes at the end of a write does not find what we wrote ourselves.
func TestOurOwnSizesAreKnown(t *testing.T) {
	t.Parallel()
	d := open(Legacy, rulestest.Namespace(t))
	ctx, stop := context.WithCancel(t.Context())
	var looking errgroup.Group
	looking.Go(func() error {
		for ctx.Err() == nil {
			if where, err := d.resized(); err != nil || where != nil {
				return fmt.Errorf("%v has another size (%v)", where, err)
			}
		}
		return nil
	})
	for i := range 20 {
		rulestest.Install(t, d, rulestest.Ruleset(rules.Options{NoTables: true}, rulestest.Service("a", "10.10.1.1 fd10::1", 80, []string{"192.168.10.1:80", "[fd00::1]:80"}[:1+i%2]...)))
	}
	stop()
	require.NoError(t, looking.Wait())
}

// More notices than fit: Watch says that some were lost, so that everything is looked at.
func TestWatchTellsThatNoticesWereLost(t *testing.T) {
	t.Parallel()
	ns := rulestest.Namespace(t)
	d := open(NFT, ns)
	d.buffer = 1 << 16 // by itself it holds more than a test can fill
	rulestest.Install(t, d, story())
	told, resume := make(chan rules.Foreign, 100_000), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, func(f rules.Foreign) {
			told <- f
			<-resume // a slow reader: the notices pile up meanwhile
		})
	}()
	for len(told) == 0 {
		as(t, ns, NFT, families[0], "-t nat -N WEIR-THEIRS")
		as(t, ns, NFT, families[0], "-t nat -X WEIR-THEIRS")
	}
	load(t, ns, NFT, families[0], "*nat\n"+strings.Repeat("-A PREROUTING -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80\n", 3000)+"COMMIT\n", "--noflush")
	close(resume)
	for f := range told {
		if f.Lost {
			break
		}
	}
	cancel()
	require.NoError(t, <-ended)
}

// The variant is the host's own, but where others have all their rules in the other one.
func TestVariant(t *testing.T) {
	t.Parallel()
	ns := rulestest.Namespace(t)
	usual := func() Variant {
		d := New(Options{NetNS: ns})
		require.NoError(t, d.Probe(t.Context()))
		return d.Variant()
	}
	require.Equal(t, NFT, usual(), "as Debian's iptables is")
	load(t, ns, Legacy, families[0], stranger, "--noflush")
	require.Equal(t, Legacy, usual())
	mixed, err := mixedIn(t.Context(), New(Options{NetNS: ns}))
	require.NoError(t, err)
	require.Empty(t, mixed)
	rulestest.Install(t, open(NFT, ns), story())
	mixed, err = mixedIn(t.Context(), New(Options{NetNS: ns}))
	require.NoError(t, err)
	require.Contains(t, mixed, "and 3 of iptables-legacy are in use at once")
	require.Equal(t, NFT, usual())
}
