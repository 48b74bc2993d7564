package monitor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

var x = check.ID{Service: "a", Instance: "x"}

func (m *merged) one(counted uint64, r check.Result) loadmon.Load {
	loads := []loadmon.Load{{Service: "a", Instance: "x", Connections: counted, Busy: 0.5}}
	m.add(loads, map[check.ID]check.Result{x: r}, nil)
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
	m.add(nil, map[check.ID]check.Result{x: {}}, nil)
	require.Equal(t, uint64(221), m.one(7, check.Result{Connections: 2, Failed: 1}).Connections, "without figures for a moment")
	m.add(nil, nil, nil)
	require.Empty(t, m.tallies, "what is gone is forgotten")
}

// What it costs to ask an instance for its figures is not its clients' doing.
func TestQuestionsAreNoClients(t *testing.T) {
	t.Parallel()
	var m merged
	loads := []loadmon.Load{{Service: "a", Instance: "x", Connections: 10}}
	m.add(loads, map[check.ID]check.Result{x: {Connections: 2}}, map[sample.ID]uint64{sample.ID(x): 3})
	require.Equal(t, uint64(5), loads[0].Connections)
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
