package nft

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// A kernel that cannot tell of packets answers as one that holds something else than remembered. Only what is to be held is
// rejected then, and everything else is written.
func TestKernelThatCannotTell(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnAuto)
	require.NoError(t, d.canTell())
	probed := 0
	d.tells = func() error { probed++; return unix.ENOENT }
	web, sleeper := service("web", "10.10.1.1 fd10::1", 80, "192.168.10.100:80", "[fd00:10::100]:80"), with(service("sleeper", "10.10.1.2 fd10::2", 80), rulestest.Sleeper)
	want := build(rules.Options{}, web, sleeper)
	state := read(t, d)
	problems, err := rules.Carry(t.Context(), d, state, rules.Diff(state, want))
	require.NoError(t, err)
	require.Len(t, problems, 2)
	require.Contains(t, problems[0].Error(), "the kernel cannot tell of packets, which needs nft_log and nfnetlink_log: no such file or directory")
	again := read(t, d)
	require.Len(t, again.Placed, 2, "%s", again)
	require.Equal(t, rules.Random, again.Placed[frontend("10.10.1.1:80")].Mode)

	// What refuses in place of it is written, and asks nobody.
	probed = 0
	refusing := build(rules.Options{NoHold: true}, web, sleeper)
	problems, err = rules.Carry(t.Context(), d, state, rules.Diff(state, refusing))
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Zero(t, probed)
	require.Empty(t, rules.Diff(read(t, d), refusing).String())
}
