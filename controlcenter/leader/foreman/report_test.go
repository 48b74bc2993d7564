package foreman

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/placement"
)

// The page says what is wanted, what there is, by how much that differs, and what is decided and not done.
func TestReport(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	ops := &cluster.Operations{
		Revision: 7,
		Assigned: map[string]map[string]cluster.Assignment{
			"n1": {"a-1": {Service: "a", Wanted: cluster.WantServing}, "a-3": {Service: "a", Wanted: cluster.WantDrained, Reason: "its node is drained", Since: since}},
			"n2": {"a-2": {Service: "a", Wanted: cluster.WantServing, Reason: "3 are wanted", Since: since}, "a-4": {Service: "a", Wanted: cluster.WantStandby}},
		},
		Launched: map[string]map[string]cluster.Launched{
			"n1": {"a-1": {Phase: cluster.PhaseReady}, "a-3": {Phase: cluster.PhaseReady}}, "n2": {"a-4": {Phase: cluster.PhaseReady}},
		},
		Problems: []cluster.Problem{{Object: "key x", What: "cannot be read"}},
	}
	f := New(Config{})
	var page strings.Builder
	require.ErrorIs(t, f.WriteReport(&page), ErrNothingYet)
	decided := placement.Action{Event: cluster.Event{What: "placed", Service: "a", Reason: "instance a-2 on node n2"}}
	f.tell(&cluster.Snapshot{}, ops, map[string]wish{"a": {3, "operator", "launch day"}}, []placement.Action{decided, {}}, nil)
	require.Equal(t, Report{
		Revision: 7,
		Services: []ServiceReport{{Service: "a", Want: 3, By: "operator", Reason: "launch day", Serving: 1, Differs: -2, Standby: 1, Waiting: 1, Leaving: 1}},
		Decided:  []string{"placed a: instance a-2 on node n2"},
		Pending: []Action{
			{"a-3", "a", "n1", cluster.WantDrained, cluster.PhaseReady, "its node is drained", since},
			{"a-2", "a", "n2", cluster.WantServing, "", "3 are wanted", since},
		},
		Problems: ops.Problems,
	}, f.Report())
	require.NoError(t, f.WriteReport(&page))
	require.True(t, json.Valid([]byte(page.String())))

	delete(ops.Assigned["n1"], "a-3")
	f.pause(ops)
	r := f.Report()
	require.True(t, r.Paused)
	require.Len(t, r.Pending, 1, "what is under way goes on")
	require.Len(t, r.Services, 1)
	f = New(Config{})
	f.pause(ops)
	page.Reset()
	require.NoError(t, f.WriteReport(&page), "also when it never decided anything")
	require.Contains(t, page.String(), `"services": []`)
}
