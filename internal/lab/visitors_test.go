package lab

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVisitorsComeAndStay(t *testing.T) {
	c, server, frontend := oneInstance(t)
	v, err := StartVisitors(c.Client.Namespace, VisitorsOptions{Frontend: frontend, Stay: 100 * time.Millisecond, Timeout: patience})
	require.NoError(t, err)
	require.Equal(t, Tally{Reasons: map[string]int{}, ByID: map[string]int{}}, v.Tally(), "none comes before Set")
	v.Set(200)
	require.Eventually(t, func() bool { return v.Tally().Connections >= 40 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return v.Open()[server.ID()] > 0 }, patience, time.Millisecond)
	before := v.Tally()
	v.Set(0)
	require.Eventually(t, func() bool { return len(v.Open()) == 0 }, patience, time.Millisecond)
	all := v.Tally()
	require.Zero(t, all.Failed+all.Broken, "%v", all.Reasons)
	require.Equal(t, map[string]int{server.ID(): all.Connections}, all.ByID)
	require.Equal(t, server.Accepted(), all.Connections)
	since := all.Since(before)
	require.Equal(t, all.Connections-before.Connections, since.Connections)
	require.Equal(t, since.Connections, since.ByID[server.ID()])

	require.NoError(t, v.Close())
	require.NoError(t, v.Close())
	v.Set(100) // nobody comes any more, and nobody hangs
	require.Equal(t, all, v.Tally())
}

// A visitor whose instance dies has a broken connection; who comes then fails; and others come when they are due all the same.
func TestVisitorsMeetADeadInstance(t *testing.T) {
	c, server, frontend := oneInstance(t)
	v, err := StartVisitors(c.Client.Namespace, VisitorsOptions{Frontend: frontend, Stay: 300 * time.Millisecond, Timeout: patience})
	require.NoError(t, err)
	v.Set(100)
	require.Eventually(t, func() bool { return v.Open()[server.ID()] > 5 }, patience, time.Millisecond)
	require.NoError(t, server.Close())
	closed := time.Now()
	require.Eventually(t, func() bool { return v.Oldest().After(closed) && v.Tally().Failed > 0 }, patience, time.Millisecond)
	got := v.Tally()
	require.Positive(t, got.Broken, "%v", got.Reasons)
	require.Positive(t, got.Failed, "%v", got.Reasons)
	require.Equal(t, got.Failed+got.Broken, got.Reasons["refused"]+got.Reasons["reset"]+got.Reasons["closed"], "%v", got.Reasons)

	require.NoError(t, v.Close())
	require.NoError(t, c.Switch.Plug(c.Instances[0].Namespace, false))
	v, err = StartVisitors(c.Client.Namespace, VisitorsOptions{Frontend: frontend, Timeout: 100 * time.Millisecond})
	require.NoError(t, err)
	v.Set(100)
	require.Eventually(t, func() bool { return v.Tally().Reasons["timeout"] > 5 }, patience, time.Millisecond)
}

func TestVisitorsThatAreTooMany(t *testing.T) {
	c, _, frontend := oneInstance(t)
	v, err := StartVisitors(c.Client.Namespace, VisitorsOptions{Frontend: frontend, Stay: time.Hour, Open: 3})
	require.NoError(t, err)
	v.Set(100)
	require.Eventually(t, func() bool { return v.Tally().Reasons[errTooManyOpen.Error()] > 3 }, patience, time.Millisecond)
	require.NoError(t, v.Close(), "those that stay for an hour are cut off, and not counted")
	require.Equal(t, v.Tally().Connections, v.Tally().Failed)

	_, err = StartVisitors(c.Client.Namespace, VisitorsOptions{})
	require.ErrorContains(t, err, "needs a frontend")
}
