package ipt

import (
	"testing"

	"github.com/weir-lb/weir/rules/rulestest/traffic"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		driver := func(_ testing.TB, ns int) traffic.Driver { return open(v, ns) }
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			traffic.TestDriver(t, driver, driver, 5)
		})
	}
}
