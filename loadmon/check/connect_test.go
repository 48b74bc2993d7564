package check

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// An instance of this host is judged without waiting.
func TestTryTCP(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		own := task{own: true, address: netip.MustParseAddrPort(l.Addr().String()), check: &cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: cluster.Duration(time.Second)}}
		o, fd := tryTCP(t.Context(), own)
		require.Equal(t, -1, fd)
		require.Equal(t, Good, o.Kind)
		require.Positive(t, o.Took)
		c, err := l.Accept()
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "nothing is left behind")
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		own.address = netip.AddrPortFrom(own.address.Addr(), 1) // nobody ever listens there
		o, fd = tryTCP(t.Context(), own)
		require.Equal(t, -1, fd)
		require.Equal(t, Refused, o.Kind)
	}
}

// One whose queue of connections is full is waited for, on the same connection.
func TestTryTCPDoesNotWait(t *testing.T) {
	t.Parallel()
	check := &cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: soon}
	silent := task{own: true, address: deaf(t), check: check}
	o := Outcome{Reason: stoppedReason}
	for o.Reason == stoppedReason { // this machine did not get to run it
		nothing, fd := tryTCP(t.Context(), silent)
		require.Positive(t, fd)
		require.Zero(t, nothing, "is known yet: it would be, had it waited for an answer or for the timeout")
		o = timed(t.Context(), silent, time.Now(), func(ctx context.Context, t task) Outcome { return awaitTCP(ctx, t, fd) })
	}
	require.Equal(t, Bad, o.Kind)
	require.Equal(t, "no answer within 300ms", o.Reason)
}
