package nft

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/rules"
)

// A large table of somebody else costs us nothing: what is in it is neither read nor changed. (Of the chains of our
// families the kernel lists all, for it has no filter there: some hundred bytes each.)
func TestForeignTablesCostNothing(t *testing.T) {
	ns := namespace(t)
	d := open(t, ns, OwnOff)
	want := story()
	install(t, d, want)
	cost := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 5 {
			require.Empty(t, rules.Diff(read(t, d), want).String())
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	cost() // what is made once
	alone := cost()

	var script strings.Builder
	// A set with a size is never resized: while the kernel resizes one, a listing shows some elements twice and others not.
	script.WriteString("add table ip theirs\nadd set ip theirs s { type ipv4_addr; size 65536; }\nadd chain ip theirs c { type filter hook forward priority 0; }\n")
	for i := range 50 {
		script.WriteString("add element ip theirs s { ")
		for j := range 1000 {
			fmt.Fprintf(&script, "20.%d.%d.%d, ", i, j/250, j%250)
		}
		script.WriteString("}\n")
		fmt.Fprintf(&script, "add rule ip theirs c ip saddr @s counter comment \"%d\"\n", i)
	}
	nft(t, ns, script.String())
	theirs := func() string {
		out, err := inside(ns, "", "nft", "-a", "list", "table", "ip", "theirs")
		require.NoError(t, err, out)
		return out
	}
	before := theirs()
	require.Greater(t, len(before), 50_000*9)
	beside := cost()
	t.Logf("five readings allocate %d bytes alone and %d beside 50,000 foreign elements", alone, beside)
	require.Less(t, beside, alone+alone/4)

	nft(t, ns, "delete table ip weir")
	install(t, d, want)
	require.Equal(t, before, theirs(), "repaired")
	require.NoError(t, d.Clean(t.Context()))
	require.Equal(t, before, theirs(), "cleaned")
}
