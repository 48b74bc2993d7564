package rules_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "read the difference; if it is meant: go test ./rules -update")
}

// A story in plans: what is to be done, how many writes it takes, and what then holds.
func TestPlanStory(t *testing.T) {
	one, two, three := instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 1), instance("192.168.10.3:80", 1)
	heavy := instance("192.168.10.2:80", 3)
	six := instance("[fd00::1]:80", 1)
	draft, have, revision := cluster.NewDraft(), rules.NewState(), int64(0)
	options := rules.Options{KeepSource: prefixes("192.168.10.0/29"), Links: prefixes("192.168.10.0/24"), Node: "n1", Ping: true}
	draft.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.10.1")}})
	var want *rules.Ruleset
	publish := func(s *cluster.Service) func() {
		return func() { s.ModRevision = revision; draft.Service(s.Name, s) }
	}
	udp := service("dns", "10.10.1.3", one)
	udp.Ports[0] = cluster.Port{Port: 53, Protocol: cluster.UDP}
	sticky := service("sticky", "10.10.1.4", one, two)
	sticky.Affinity = cluster.AffinitySource
	dual := service("web", "10.10.1.1", one, two, six)
	dual.VIPs = append(dual.VIPs, netip.MustParseAddr("fd10::1"))

	guarded := func(sources string, more ...cluster.Instance) *cluster.Service {
		s := *dual
		s.Sources, s.Instances = prefixes(strings.Fields(sources)...), append(slices.Clone(dual.Instances), more...)
		return &s
	}

	var b strings.Builder
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"a first service, on a kernel without a frame", func() {
			have.Damage = []rules.Damage{{Object: "table ip weir", What: "missing"}}
			publish(service("web", "10.10.1.1", one, two))()
		}},
		{"a third instance", publish(service("web", "10.10.1.1", one, two, three))},
		{"one replaced", publish(service("web", "10.10.1.1", one, three, instance("192.168.10.4:80", 1)))},
		{"two gone, one back with three times the weight", publish(service("web", "10.10.1.1", one, heavy))},
		{"one without instances", publish(service("empty", "10.10.1.2"))},
		{"udp", publish(udp)},
		{"by source", publish(sticky)},
		{"a second family", publish(dual)},
		{"a pool in place of addresses", func() { draft.Config(&cluster.Config{VIPPools: prefixes("10.10.1.0/24")}) }},
		{"the same again", func() {}},
		{"for some only", publish(guarded("10.30.0.0/24 fd30::/64"))},
		{"for some others, with one more instance", publish(guarded("10.30.0.0/16 10.31.0.0/16", instance("192.168.10.3:80", 1)))},
		{"for everybody again", publish(dual)},
		{"all instances drained", func() {
			for _, id := range []string{"192.168.10.1:80", "192.168.10.2:80", "[fd00::1]:80"} {
				draft.Admin("web", id, &cluster.Admin{Drain: true})
			}
		}},
		{"withdrawn", func() { draft.Service("web", nil); draft.Service("sticky", nil) }},
	} {
		revision++
		step.do()
		want = rules.Build(want, draft.Snapshot(revision), options)
		plan := rules.Diff(have, want)
		fmt.Fprintf(&b, "== %s: %d writes\n%s", step.what, plan.Writes(), plan)
		have.Commit(plan)
		require.Zero(t, rules.Diff(have, want).Writes())
	}
	fmt.Fprintf(&b, "== then the kernel holds\n%s== as is wanted\n%s", have, want)
	golden(t, "testdata/plan.golden", b.String())
}

func TestStateString(t *testing.T) {
	target := netip.MustParseAddrPort("192.168.10.1:80")
	s := rules.NewState()
	s.Damage = []rules.Damage{{Object: "ip chain dispatch", What: "rule 2 differs"}}
	s.Sets[rules.VIPs] = prefixes("10.10.1.0/24")
	f := func(port uint16) cluster.Frontend {
		return cluster.Frontend{VIP: netip.MustParseAddr("10.10.1.1"), Proto: cluster.TCP, Port: port}
	}
	s.Placed[f(82)] = rules.Placement{Mode: rules.Unknown}
	s.Placed[f(81)] = rules.Placement{Mode: rules.Random, Size: 3, Slots: []netip.AddrPort{target, {}, target}}
	s.Placed[f(80)] = rules.Placement{Mode: rules.Random, Size: 1, Slots: []netip.AddrPort{target, target}}
	s.Placed[f(83)] = rules.Placement{Mode: rules.Random, Size: 2, Slots: []netip.AddrPort{target}}
	s.Placed[f(84)] = rules.Placement{Slots: []netip.AddrPort{target}}
	require.Equal(t, `damaged ip chain dispatch: rule 2 differs
vips 10.10.1.0/24
10.10.1.1:80 random 1: 192.168.10.1:80, 1 slots left over
10.10.1.1:81 random 3: missing 192.168.10.1:80 x2
10.10.1.1:82 unknown
10.10.1.1:83 random 2: missing 192.168.10.1:80
10.10.1.1:84 absent, 1 slots left over
`, s.String())
}
