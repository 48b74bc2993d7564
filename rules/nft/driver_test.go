package nft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

func TestDriver(t *testing.T) {
	few(t, 40)
	for _, ownership := range []Ownership{OwnAuto, OwnOff} {
		t.Run(string(ownership), func(t *testing.T) {
			t.Parallel()
			ns := namespace(t)
			var last *Driver
			rulestest.TestDriver(t, rules.Options{}, func(t testing.TB) rules.Driver {
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
