package lab

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestArrive(t *testing.T) {
	c, err := NewCluster(Test(t), 0, 2)
	require.NoError(t, err)
	for _, a := range []netip.Addr{c.Instances[0].Addr4, c.Instances[0].Addr6} {
		address := netip.AddrPortFrom(a, 80)
		i, err := Serve(c.Instances[0].Namespace, "a", address)
		require.NoError(t, err)
		due := PoissonArrivals(1, 1000, 200*time.Millisecond)
		answers, err := Arrive(t.Context(), c.Client.Namespace, Arrivals{Frontend: address, Due: due})
		require.NoError(t, err)
		require.Len(t, answers, len(due))
		for _, a := range answers {
			require.NoError(t, a.Err)
			require.Equal(t, "a", a.ID)
			require.Positive(t, a.Took)
		}
		require.Equal(t, len(due), i.Accepted())
	}
}

// TestArriveDoesNotWait opens connections that nobody answers: the next are opened all the same, as far as they may.
func TestArriveDoesNotWait(t *testing.T) {
	c, err := NewCluster(Test(t), 0, 1)
	require.NoError(t, err)
	address := netip.AddrPortFrom(c.Instances[0].Addr4, 80)
	ln, err := c.Instances[0].Listen("tcp", address.String())
	require.NoError(t, err)
	defer ln.Close()
	due := make([]time.Duration, 4) // all at once: however slow this machine is, none of them gives up before the last is due
	answers, err := Arrive(t.Context(), c.Client.Namespace, Arrivals{Frontend: address, Due: due, Open: 3, Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	for _, a := range answers[:3] {
		require.ErrorIs(t, a.Err, unix.ETIMEDOUT)
		require.GreaterOrEqual(t, a.Took, 200*time.Millisecond)
	}
	require.ErrorIs(t, answers[3].Err, errTooManyOpen)
}

func TestArriveTellsFailuresApart(t *testing.T) {
	c, err := NewCluster(Test(t), 0, 1)
	require.NoError(t, err)
	address := netip.AddrPortFrom(c.Instances[0].Addr4, 80)
	ask := func() error {
		answers, err := Arrive(t.Context(), c.Client.Namespace, Arrivals{Frontend: address, Due: []time.Duration{0}})
		require.NoError(t, err)
		require.Empty(t, answers[0].ID)
		return answers[0].Err
	}
	require.ErrorIs(t, ask(), unix.ECONNREFUSED)
	ln, err := c.Instances[0].Listen("tcp", address.String())
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("half"))
			conn.Close()
		}
	}()
	require.ErrorIs(t, ask(), errAnswer)
	require.NoError(t, c.Client.Handle().LinkSetDown(must(c.Client.Handle().LinkByName("eth0"))))
	require.ErrorIs(t, ask(), unix.ENETUNREACH)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestArriveEndsWithItsContext(t *testing.T) {
	ns, err := Test(t).Namespace("a")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Arrive(ctx, ns, Arrivals{Frontend: netip.MustParseAddrPort("127.0.0.1:1"), Due: []time.Duration{time.Hour}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestPoissonArrivals(t *testing.T) {
	due := PoissonArrivals(7, 100, 100*time.Second)
	require.InDelta(t, 10_000, len(due), 500, "five standard deviations")
	require.IsIncreasing(t, due)
	require.Equal(t, due, PoissonArrivals(7, 100, 100*time.Second))
	require.NotEqual(t, due, PoissonArrivals(8, 100, 100*time.Second))
	require.Less(t, due[len(due)-1], 100*time.Second)
}
