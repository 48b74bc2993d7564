package ipt

import (
	"testing"

	"github.com/weir-lb/weir/rules/rulestest/traffic"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		open := func(_ testing.TB, ns int) traffic.Driver { return New(Options{Variant: v, NetNS: ns}) }
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			traffic.TestDriver(t, open, open, 5)
		})
	}
}
