package ipt

import (
	"testing"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

func TestDriver(t *testing.T) {
	rulestest.Few(t, 12)
	for _, variant := range variants {
		t.Run(string(variant), func(t *testing.T) {
			t.Parallel()
			ns := rulestest.Namespace(t)
			rulestest.TestDriver(t, rules.Options{NoTables: true}, func(t testing.TB) rules.Driver { return New(Options{Variant: variant, NetNS: ns}) })
		})
	}
}
