package nft

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
	"github.com/weir-lb/weir/rules/rulestest/traffic"
)

// road is a client whose way to the VIPs leads through one node that has an nft driver.
type road struct {
	*traffic.Road
	d *Driver
}

func newRoad(t *testing.T) *road {
	r := &road{}
	r.Road = traffic.NewRoad(t, func(t testing.TB, ns int) traffic.Driver {
		r.d = open(t, ns, OwnAuto)
		return r.d
	})
	return r
}

func (r *road) connect(f cluster.Frontend, source netip.Addr, n int) lab.Result {
	return r.Connect(r.Client, f, source, n)
}

func frontend(s string) cluster.Frontend { return rulestest.Frontend(s) }

func TestTraffic(t *testing.T) {
	t.Parallel()
	traffic.TestDriver(t, func(t testing.TB, ns int) traffic.Driver { return open(t, ns, OwnAuto) },
		func(t testing.TB, ns int) traffic.Driver { return open(t, ns, ReadOnly) }, 30)
}

// Attempts that a guard refuses are counted by frontend, those that it lets pass are not.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.AddSources(24)
	some := service("some", "10.10.1.6 fd10::6", 80, "192.168.10.100:80", "[fd00:10::100]:80")
	some.Sources = []netip.Prefix{prefix("192.168.10.64/28"), prefix("fd00:10::/116")}
	install(t, r.d, build(rules.Options{}, some))
	counts := func() map[cluster.Frontend]uint64 {
		got, err := r.d.Refused(t.Context())
		require.NoError(t, err)
		return got
	}
	require.Empty(t, counts())
	four, six := frontend("10.10.1.6:80"), frontend("[fd10::6]:80")
	refuses := func(f cluster.Frontend, source string, n int) {
		t.Helper()
		r.Refuses(f, netip.MustParseAddr(source), n, func() uint64 { return counts()[f] })
	}
	require.Equal(t, 7, r.connect(four, netip.MustParseAddr("192.168.10.70"), 7).Good())
	refuses(four, "192.168.10.60", 5)
	refuses(six, "fd00:10::5275", 3) // the last one of the road
	before := counts()
	require.Len(t, before, 2)

	// Other sources: the count goes on.
	some.Sources[0] = prefix("192.168.10.60/32")
	install(t, r.d, build(rules.Options{}, some))
	require.Equal(t, 2, r.connect(four, netip.MustParseAddr("192.168.10.60"), 2).Good())
	require.Equal(t, before, counts())
	refuses(four, "192.168.10.70", 1)
}
