package controlcenter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// What launchers tell of instances that do not run as they should, in one sentence. One that ends soon after each start is
// starting as often as it is not there.
func TestTroublesOfInstances(t *testing.T) {
	late := &cluster.Problem{Object: "instance a-1", What: "it runs, and is not ready after 10s"}
	for want, l := range map[string]cluster.Launched{
		"": {Phase: cluster.PhaseReady, Exit: "exit code 3"},
		"it does not run; its last end: exit code 3; it is started again at 2026-01-02T03:04:05Z": {
			Phase: cluster.PhaseCrashed, Exit: "exit code 3", NextTry: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		"it was started again, and is not ready yet; its last end: exit code 3": {Phase: cluster.PhaseStarting, Exit: "exit code 3"},
		"it runs, and is not ready after 10s; its last end: exit code 3":        {Phase: cluster.PhaseStarting, Exit: "exit code 3", Problem: late},
		"it runs, and is not ready after 10s":                                   {Phase: cluster.PhaseStarting, Problem: late},
	} {
		l.Service, l.Output = "a", []string{"out of luck"}
		troubles := ofLaunched(&cluster.Operations{Launched: map[string]map[string]cluster.Launched{"n1": {"a-1": l}}})
		if want == "" {
			require.Empty(t, troubles)
			continue
		}
		require.Len(t, troubles, 1, want)
		require.Equal(t, want, troubles[0].What)
		require.Equal(t, "instance a-1", troubles[0].Object)
		require.Equal(t, l.Output, troubles[0].Output)
	}
	require.Empty(t, ofLaunched(&cluster.Operations{Launched: map[string]map[string]cluster.Launched{"n1": {"a-1": {Phase: cluster.PhaseStarting}}}}), "its first start")
}
