package integration

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCleanTakeover stops the control center that leads, five times: another one leads at once, which is not after the lease.
func TestCleanTakeover(t *testing.T) {
	t.Parallel()
	w := world(t, Options{AgentArgs: LoadsForAll})
	w.StartControlCenters(3)
	var took []time.Duration
	for range 5 {
		leader := w.AwaitLeader(20 * time.Second)
		begin := time.Now()
		leader.Signal(syscall.SIGTERM)
		w.Eventually(4*time.Second, "another one leads", func() bool {
			return slices.ContainsFunc(w.ControlCenters, func(c *ControlCenter) bool { return c != leader && !c.Ended() && c.Leads() })
		})
		took = append(took, time.Since(begin))
		require.Zero(t, leader.AwaitEnd())
		leader.Start()
		leader.AwaitReady(10 * time.Second)
	}
	t.Logf("led again after %s", took)
	slices.Sort(took)
	require.Less(t, took[len(took)/2], time.Second, "a lease is 5 s")
}
