package nft

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// story is a small cluster with one of everything.
func story() *rules.Ruleset {
	services := []*cluster.Service{
		service("equal", "10.10.1.1 fd10::1", 80, "192.168.10.1:8080", "192.168.10.2:8080", "[fd00::1]:8080"),
		service("weighted", "10.10.1.2 fd10::2", 80, "192.168.10.1:81*3", "192.168.10.2:81*1", "[fd00::1]:81*2", "[fd00::2]:81*1"),
		service("nobody", "10.10.1.3 fd10::3", 80),
		with(service("sleeper", "10.10.1.7 fd10::7", 80), rulestest.Sleeper),
		with(service("same-client", "10.10.1.4", 443, "192.168.10.1:443", "192.168.10.2:443"), func(s *cluster.Service) { s.Affinity = cluster.AffinitySource }),
		with(service("some", "10.10.1.6 fd10::6", 80, "192.168.10.1:82", "192.168.10.2:82", "[fd00::1]:82"), func(s *cluster.Service) {
			s.Sources = []netip.Prefix{prefix("10.30.0.0/24"), prefix("10.40.0.7/32"), prefix("fd30::/64")}
		}),
		with(service("udp", "10.10.1.5 fd10::5", 53, "192.168.10.1:53", "[fd00::1]:53"), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.UDP }),
	}
	draft := cluster.NewDraft()
	for i, s := range services {
		s.CreateRevision, s.ModRevision = int64(i+1), int64(i+1)
		draft.Service(s.Name, s)
	}
	draft.Config(&cluster.Config{VIPPools: []netip.Prefix{netip.MustParsePrefix("10.10.1.0/29"), netip.MustParsePrefix("fd10::/64")}})
	draft.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.10.1"), netip.MustParseAddr("fd00::1")}})
	return rules.Build(nil, draft.Snapshot(9), rules.Options{
		Node: "n1", Ping: true, Budget: 300, // a short table for affinity
		KeepSource: []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24")},
		Links:      []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24"), netip.MustParsePrefix("fd00::/64")},
	})
}

func TestTextGolden(t *testing.T) {
	const path = "testdata/story.nft"
	got := Text(story())
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "read the difference; if it is meant: go test ./rules/nft -update")
}

// The rules stand twice in the layout: as words and as expressions. Loading the words must give the expressions, and
// listing the expressions the words, for any ruleset.
func TestTextIsWhatTheDriverWrites(t *testing.T) {
	few(t, 15)
	byText, byDriver := namespace(t), namespace(t)
	reader, writer := open(t, byText, OwnOff), open(t, byDriver, OwnOff)
	check := func(t require.TestingT, want *rules.Ruleset) {
		text := Text(want)
		nft(t, byText, "flush ruleset\n"+text)
		state := read(t, reader)
		require.Empty(t, state.Damage)
		require.Empty(t, rules.Diff(state, want).String(), "the text makes another ruleset")
		require.Equal(t, text, withoutCounters(listing(t, byText)), "stock nft lists the text otherwise")

		nft(t, byDriver, "flush ruleset")
		install(t, writer, want)
		require.Equal(t, text, asTypeof(withoutCounters(listing(t, byDriver))), "stock nft lists what the driver wrote otherwise")
	}
	check(t, story())
	check(t, build(rules.Options{}))
	rapid.Check(t, func(rt *rapid.T) {
		clusters := rulestest.NewClusters()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			clusters.Next(rt)
		}
		check(rt, rules.Build(nil, clusters.Same(), rules.Options{Node: "n1", Ping: true, Budget: 300, KeepSource: rapid.SampledFrom([][]netip.Prefix{
			nil, {netip.MustParsePrefix("192.168.10.4/30"), netip.MustParsePrefix("fd00::/65")},
		}).Draw(rt, "keep"), Links: []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24"), netip.MustParsePrefix("192.168.11.1/32"), netip.MustParsePrefix("fd00::/64")}}))
	})
}

var (
	elementCounter = regexp.MustCompile(`( \. [0-9a-f.:x/]+) counter packets \d+ bytes \d+`)
	netlinkMap     = regexp.MustCompile(`type ipv([46])_addr \. inet_proto \. inet_service \. mark : ipv[46]_addr \. inet_service`)
	netlinkSlot    = regexp.MustCompile(`0x[0-9a-f]{8}( :)`)
)

// withoutCounters takes the counters out of elements: Text leaves them to the kernel.
func withoutCounters(listing string) string {
	return elementCounter.ReplaceAllString(listing, "$1")
}

// asTypeof writes maps that came over netlink, whose slot is of type mark, the way in which they load.
func asTypeof(listing string) string {
	listing = netlinkMap.ReplaceAllStringFunc(listing, func(s string) string {
		f := families[0]
		if s[len("type ipv")] == '6' {
			f = families[1]
		}
		return fmt.Sprintf("typeof %s", f.specs[len(f.specs)-1].typeof)
	})
	return netlinkSlot.ReplaceAllStringFunc(listing, func(s string) string {
		slot, _ := strconv.ParseUint(s[2:10], 16, 32)
		return fmt.Sprintf("%d :", slot)
	})
}
