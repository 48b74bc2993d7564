package ipt

import (
	"testing"
	"time"

	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// open makes a driver in a namespace, whose programs wait for the lock as long as those of all others may need it: there is one
// for all namespaces.
func open(v Variant, ns int) *Driver {
	d := New(Options{Variant: v, NetNS: ns, Limit: 2 * time.Minute})
	d.lock = 60
	return d
}

func TestDriver(t *testing.T) {
	rulestest.Few(t, 12)
	for _, variant := range variants {
		t.Run(string(variant), func(t *testing.T) {
			t.Parallel()
			ns := rulestest.Namespace(t)
			rulestest.TestDriver(t, rules.Options{NoTables: true}, func(t testing.TB) rules.Driver { return open(variant, ns) })
		})
	}
}
