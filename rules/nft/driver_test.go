package nft

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"
	"runtime"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

func namespace(t testing.TB) int {
	runtime.LockOSThread()
	before, err := netns.Get()
	require.NoError(t, err)
	fresh, err := netns.New()
	require.NoError(t, err)
	require.NoError(t, netns.Set(before))
	require.NoError(t, before.Close())
	runtime.UnlockOSThread()
	t.Cleanup(func() { fresh.Close() })
	return int(fresh)
}

func TestDriver(t *testing.T) {
	for _, ownership := range []Ownership{OwnAuto, OwnOff} {
		t.Run(string(ownership), func(t *testing.T) {
			ns := namespace(t)
			var last *Driver
			rulestest.TestDriver(t, func(t testing.TB) rules.Driver {
				if last != nil {
					require.NoError(t, last.Close())
				}
				d, err := New(Options{Ownership: ownership, NetNS: ns})
				require.NoError(t, err)
				last = d
				return d
			})
		})
	}
}
