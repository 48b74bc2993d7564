package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// guardedPlacement reads "xy", "xy@ab" (only a and b may connect), "xy@" (nobody may) or "xy~ab" (open, a guard left over).
func guardedPlacement(s string) Placement {
	slots, sources, guarded := strings.Cut(s, "@")
	rest, stale, left := strings.Cut(slots, "~")
	p := placement(rest)
	if p.Guarded = guarded; left {
		sources, p.Stale = stale, Lead{Mode: Random, Size: len(rest)}
	}
	for _, r := range sources {
		p.Sources = append(p.Sources, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r), 0, 0}), 16))
	}
	return p
}

// phases tells what a change writes in each transaction.
func phases(c Change) string {
	var out []string
	for phase := range Phases {
		var said []string
		if w := writes(c.SlotsIn(phase)); w != "" {
			said = append(said, w)
		}
		remove, add := c.SourcesIn(phase)
		for _, p := range remove {
			said = append(said, fmt.Sprintf("-%c", p.Addr().As4()[1]))
		}
		for _, p := range add {
			said = append(said, fmt.Sprintf("+%c", p.Addr().As4()[1]))
		}
		if c.GuardIn(phase) {
			said = append(said, "guard "+c.Want.Guard().String())
		}
		if c.EntryIn(phase) {
			said = append(said, "entry "+c.Want.summary())
		}
		out = append(out, strings.Join(said, " "))
	}
	return strings.Join(out, " | ")
}

// A guard stands before the entry leads to it, and goes after.
func TestDiffGuards(t *testing.T) {
	t.Parallel()
	const a, ab = "10.97.0.0/16", "10.97.0.0/16 10.98.0.0/16"
	for _, c := range []struct{ name, have, want, phases string }{
		{"new", "", "x@a", "0:.x +a guard random 1 | entry random 1 for " + a + " | "},
		{"becomes guarded", "xy", "xy@a", "+a guard random 2 | entry random 2 for " + a + " | "},
		{"becomes guarded, and grows", "x", "xy@a", "1:.y +a guard random 2 | entry random 2 for " + a + " | "},
		{"becomes guarded, and shrinks", "xyz", "xy@a", "2:zx +a guard random 2 | entry random 2 for " + a + " | 2:x."},
		{"nobody may any more", "xy", "xy@", "guard random 2 | entry random 2 for nobody | "},
		{"is open again", "xy@a", "xy", " | entry random 2 | -a guard absent"},
		{"is open again, and grows", "x@a", "xy", "1:.y | entry random 2 | -a guard absent"},
		{"is open again, and shrinks", "xyz@a", "xy", "2:zx entry random 2 | 2:x. | -a guard absent"},
		{"grows", "x@a", "xy@a", "1:.y | guard random 2 | "},
		{"shrinks", "xyz@a", "xy@a", "2:zx guard random 2 | 2:x. | "},
		{"one more may", "xy@a", "xy@ab", "+b |  | "},
		{"others may", "xy@a", "xy@b", "-a +b |  | "},
		{"others may, and it grows", "x@a", "xy@b", "1:.y -a +b | guard random 2 | "},
		{"its last target gone", "x@a", "-@a", "guard refuse | 0:x. | "},
		{"gone", "x@a", "", "entry absent | 0:x. | -a guard absent"},
		{"left over from an interrupted change", "xy~a", "xy", " |  | -a guard absent"},
		{"left over, and wanted again", "xy~a", "xy@ab", "+b | entry random 2 for " + ab + " | "},
		{"left over, and nothing is wanted", "xy~a", "", "entry absent | 0:x. 1:y. | -a guard absent"},
	} {
		have, want := NewState(), (*Balancer)(nil)
		if c.have != "" {
			have.Placed[frontend] = guardedPlacement(c.have)
		}
		if p := guardedPlacement(c.want); c.want != "" {
			want = &Balancer{Mode: p.Mode, Shares: p.Shares(), Guarded: p.Guarded, Sources: p.Sources}
		}
		plan := Diff(have, ruleset(want))
		require.Len(t, plan.Changes, 1, c.name)
		require.Equal(t, c.phases, phases(plan.Changes[0]), c.name)
		have.Commit(plan)
		require.True(t, Diff(have, ruleset(want)).Empty(), c.name)
		require.Equal(t, c.want == "", have.Placed[frontend].equal(Placement{}), c.name)
	}
}

func TestPlacementAdmits(t *testing.T) {
	t.Parallel()
	in, out := netip.MustParseAddr("10.97.1.1"), netip.MustParseAddr("10.98.1.1")
	require.True(t, guardedPlacement("x").Admits(out))
	require.True(t, guardedPlacement("x~a").Admits(out), "a guard that nothing leads to")
	require.True(t, guardedPlacement("x@a").Admits(in))
	require.False(t, guardedPlacement("x@a").Admits(out))
	require.False(t, guardedPlacement("x@").Admits(in))
}

// Sources that overlap, written past publish, are one; those of the other family are no concern of a frontend.
func TestBuildSources(t *testing.T) {
	t.Parallel()
	s := &cluster.Service{
		Name: "a", CreateRevision: 1, ModRevision: 1, VIPs: []netip.Addr{frontend.VIP, netip.MustParseAddr("fd10::1")},
		Ports:   []cluster.Port{{Port: frontend.Port, Protocol: cluster.TCP}},
		Sources: []netip.Prefix{netip.MustParsePrefix("10.30.0.7/32"), netip.MustParsePrefix("10.30.0.0/16"), netip.MustParsePrefix("10.29.0.0/16")},
	}
	draft := cluster.NewDraft()
	draft.Service("a", s)
	r := Build(nil, draft.Snapshot(1), Options{})
	four, _ := r.Balancers.Get(frontend)
	require.True(t, four.Guarded)
	require.Equal(t, "[10.29.0.0/16 10.30.0.0/16]", fmt.Sprint(four.Sources))
	six, _ := r.Balancers.Get(cluster.Frontend{VIP: s.VIPs[1], Proto: cluster.TCP, Port: frontend.Port})
	require.True(t, six.Guarded)
	require.Empty(t, six.Sources)
	require.Len(t, r.Problems, 1)
	require.Equal(t, "service a: vips[1]: no source has the address family of fd10::1, so nobody may connect there: add sources of that family, or remove the VIP", r.Problems[0].Error())
}
