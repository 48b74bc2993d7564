package ipt

import (
	"testing"

	"github.com/weir-lb/weir/rules/rulestest"
	"github.com/weir-lb/weir/rules/rulestest/traffic"
)

func TestTraffic(t *testing.T) {
	for _, v := range variants {
		open := func(_ testing.TB, ns int) traffic.Driver { return New(Options{Variant: v, NetNS: ns}) }
		t.Run(string(v), func(t *testing.T) {
			t.Run("trace", func(t *testing.T) { traffic.TestTrace(t, traffic.NewRoad(t, open)) })
			t.Run("counters", func(t *testing.T) {
				r := traffic.NewRoad(t, open)
				traffic.TestCounters(t, r, open(t, int(r.Node.Netns())))
			})
			t.Run("sources", func(t *testing.T) { traffic.TestSources(t, traffic.NewRoad(t, open)) })
			t.Run("hold", func(t *testing.T) { traffic.TestHold(t, traffic.NewRoad(t, open)) })
			t.Run("refusal", func(t *testing.T) { traffic.TestRefusal(t, traffic.NewRoad(t, open)) })
			t.Run("counting beside writes", func(t *testing.T) { traffic.TestCountingBesideWrites(t, open(t, rulestest.Namespace(t)), 5) })
		})
	}
}
