package nft

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// Tables of another version become ours while connections live: what an earlier layout lacks is added piece by
// piece, and what a later one wrote is made anew.
func TestOtherLayouts(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"layout-1", "layout-2"} {
		t.Run(before, func(t *testing.T) {
			t.Parallel()
			otherLayouts(t, "testdata/"+before+".nft")
		})
	}
}

// otherLayouts begins with a table as an earlier version printed it.
func otherLayouts(t *testing.T, file string) {
	r := newRoad(t)
	ns := int(r.Nodes[0].Netns())
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	nft(t, ns, string(before))
	d := open(t, ns, OwnOff)
	want := build(rules.Options{Node: "n1", Ping: true},
		service("a", "10.10.1.1 fd10::1", 80, "192.168.10.100:80", "192.168.10.101:80", "[fd00:10::100]:80"))
	var streams []*lab.Stream
	for _, f := range []string{"10.10.1.1:80", "[fd10::1]:80"} {
		s, err := lab.StartStream(r.Client.Namespace, lab.StreamOptions{Frontend: netip.MustParseAddrPort(f)})
		require.NoError(t, err)
		streams = append(streams, s)
	}
	sound := func(what string) {
		t.Helper()
		require.Empty(t, rules.Diff(read(t, d), want).String(), what)
		require.Equal(t, 20, r.connect(frontend("10.10.1.1:80"), netip.Addr{}, 20).Good(), what)
		for _, s := range streams {
			answered := s.Snapshot().Answered
			require.Eventually(t, func() bool { return s.Snapshot().Answered > answered+20 }, 20*time.Second, time.Millisecond, "%s: a live connection goes on", what)
		}
	}

	state := read(t, d)
	require.Len(t, state.Placed, 2, "what it holds is understood")
	require.NotEmpty(t, state.Damage)
	for _, damage := range state.Damage {
		require.NotContains(t, damage.Object, "table ", "nothing is thrown away")
	}
	plan := rules.Diff(state, want)
	require.Empty(t, plan.Changes, "no entry is written anew")
	require.NoError(t, d.Apply(t.Context(), plan))
	counts, err := d.Counters(t.Context())
	require.NoError(t, err)
	require.Positive(t, counts[frontend("[fd10::1]:80")][netip.MustParseAddrPort("[fd00:10::100]:80")], "and what was counted stays")
	sound("from the layout before")

	nft(t, ns, strings.ReplaceAll("add chain FAMILY weir layout-9; add map FAMILY weir later { type mark : mark; }; add rule FAMILY weir dispatch meta mark 1 accept", "FAMILY", "ip"))
	plan = rules.Diff(read(t, d), want)
	require.Len(t, plan.Repairs, 1, "%s", plan)
	require.Contains(t, plan.String(), "repair table ip weir: was written by a newer version (layout 9, this one writes 3)")
	require.NoError(t, d.Apply(t.Context(), plan))
	sound("from a later layout")
	for _, s := range streams {
		result := s.Stop()
		require.False(t, result.Broken, result.Reason)
		require.Equal(t, result.Sent, result.Answered)
	}
}
