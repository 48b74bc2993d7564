package monitor

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

var (
	x       = check.ID{Service: "a", Instance: "x"}
	atX     = netip.MustParseAddrPort("192.168.1.1:80")
	xAlone  = []loadmon.Local{local("a", "x", atX)}
	nothing map[sample.ID]sample.Questions
)

func local(service, instance string, addresses ...netip.AddrPort) loadmon.Local {
	l := loadmon.Local{Service: service, Instance: instance}
	for _, a := range addresses {
		l.Listeners = append(l.Listeners, cluster.Listener{Address: a, Proto: cluster.TCP}, cluster.Listener{Address: a, Proto: cluster.UDP})
	}
	return l
}

func (m *merged) one(counted uint64, r check.Result) loadmon.Load {
	loads := []loadmon.Load{{Service: "a", Instance: "x", Connections: counted, Busy: 0.5}}
	r.To = atX
	m.add(loads, xAlone, map[check.ID]check.Result{x: r}, nothing)
	return loads[0]
}

func TestMerge(t *testing.T) {
	t.Parallel()
	var m merged
	for _, c := range []struct {
		name                string
		counted             uint64
		result              check.Result
		connections, failed uint64
	}{
		{"clients and checks", 100, check.Result{Connections: 3}, 97, 0},
		{"checks alone", 103, check.Result{Connections: 6, Failed: 1, FailedInRow: 1, LatencyMS: 2.5}, 97, 1},
		{"a check that the kernel counts with the next sample", 105, check.Result{Connections: 9, Failed: 1}, 97, 1},
		{"and here it is, with ten clients", 119, check.Result{Connections: 12, Failed: 1}, 107, 1},
		{"checks that the kernel never counts", 119, check.Result{Connections: 15, Failed: 4, FailedInRow: 3}, 107, 4},
		{"do not hide clients for long", 219, check.Result{Connections: 15, Failed: 4}, 204, 4},
		{"the checker begins anew", 230, check.Result{Connections: 1, Failed: 1}, 214, 5},
		{"so does the kernel", 7, check.Result{Connections: 1, Failed: 1}, 221, 5},
	} {
		l := m.one(c.counted, c.result)
		require.Equal(t, loadmon.Load{
			Service: "a", Instance: "x", Busy: 0.5, Connections: c.connections, Failed: c.failed, FailedInRow: c.result.FailedInRow, LatencyMS: c.result.LatencyMS,
		}, l, c.name)
	}
	m.add(nil, xAlone, map[check.ID]check.Result{x: {Connections: 2, To: atX}}, nil)
	m.add(nil, xAlone, map[check.ID]check.Result{x: {Connections: 3, To: atX}}, nil)
	m.add(nil, xAlone, map[check.ID]check.Result{x: {Connections: 4, To: atX}}, nil)
	require.Equal(t, uint64(222), m.one(13, check.Result{Connections: 6, Failed: 1}).Connections, "without figures for a while: five checks and a client")
	m.add(nil, nil, nil, nil)
	require.Empty(t, m.tallies, "what is gone is forgotten")
}

// What it costs to ask an instance for its figures is not its clients' doing.
func TestQuestionsAreNoClients(t *testing.T) {
	t.Parallel()
	var m merged
	loads := []loadmon.Load{{Service: "a", Instance: "x", Connections: 10}}
	m.add(loads, xAlone, map[check.ID]check.Result{x: {Connections: 2, To: atX}}, map[sample.ID]sample.Questions{sample.ID(x): {To: atX, Count: 3}})
	require.Equal(t, uint64(5), loads[0].Connections)
}

// The kernel counts what comes to an address, whichever service it is for: the checks of all services that have it are no
// clients of any.
func TestChecksOfOtherServicesAreNoClients(t *testing.T) {
	t.Parallel()
	other, elsewhere := netip.MustParseAddrPort("192.168.1.1:81"), netip.MustParseAddrPort("192.168.1.2:80")
	locals := []loadmon.Local{local("a", "x", atX), local("b", "y", atX, other), local("c", "z", elsewhere)}
	y, z := check.ID{Service: "b", Instance: "y"}, check.ID{Service: "c", Instance: "z"}
	var m merged
	for round := range uint64(5) {
		n := round + 1
		loads := []loadmon.Load{
			{Service: "a", Instance: "x", Connections: n * (10 + 3 + 4 + 2)},
			{Service: "b", Instance: "y", Connections: n * (10 + 20 + 3 + 4 + 2 + 5)},
			{Service: "c", Instance: "z", Connections: n * (7 + 1)},
		}
		m.add(loads, locals, map[check.ID]check.Result{
			x: {Connections: n * 3, To: atX}, y: {Connections: n * 4, To: atX}, z: {Connections: n, To: elsewhere},
		}, map[sample.ID]sample.Questions{sample.ID(x): {To: atX, Count: n * 2}, sample.ID(y): {To: other, Count: n * 5}})
		require.Equal(t, []uint64{n * 10, n * 30, n * 7}, []uint64{loads[0].Connections, loads[1].Connections, loads[2].Connections})
	}
	loads := []loadmon.Load{{Service: "a", Instance: "x", Connections: 5*19 + 1}}
	m.add(loads, locals[:1], map[check.ID]check.Result{x: {Connections: 15, To: atX}}, nil)
	require.Equal(t, uint64(51), loads[0].Connections, "a service that is withdrawn takes no clients with it")
}

// An exec check does not connect, so no client is taken for one of its runs.
func TestRunsAreNoConnections(t *testing.T) {
	t.Parallel()
	var m merged
	require.Equal(t, uint64(10), m.one(10, check.Result{Checks: 5}).Connections)
}

// Whatever the counters do that it is made from, a counter in a report never falls.
func TestMergedCountersRise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var m merged
		var last loadmon.Load
		for range 50 {
			l := m.one(rapid.Uint64Max(1000).Draw(t, "counted"), check.Result{
				Connections: rapid.Uint64Max(100).Draw(t, "checks"), Failed: rapid.Uint64Max(100).Draw(t, "failed"), FailedInRow: 1,
			})
			require.GreaterOrEqual(t, l.Connections, last.Connections)
			require.GreaterOrEqual(t, l.Failed, last.Failed)
			last = l
		}
	})
}
