package check

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

func TestAtOnce(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		at := netip.MustParseAddrPort(l.Addr().String())
		done, err := atOnce(at)
		require.True(t, done)
		require.NoError(t, err)
		c, err := l.Accept()
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "nothing is left behind")
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
		done, err = atOnce(at)
		require.True(t, done)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		own := task{own: true, address: at, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: cluster.Duration(time.Second)}}
		require.Equal(t, Refused, probeTCP(t.Context(), own).Kind)
	}
}

// TestAtOnceDoesNotWait for an instance whose queue of connections is full: who waits finds out.
func TestAtOnceDoesNotWait(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	for range 4 { // these stay
		go func() {
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", at.String())
			if err == nil {
				<-t.Context().Done()
				_ = c.Close()
			}
		}()
	}
	require.Eventually(t, func() bool { done, _ := atOnce(at); return !done }, 5*time.Second, 10*time.Millisecond)
	own := task{own: true, address: at, check: &cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: cluster.Duration(300 * time.Millisecond)}}
	o := run(t.Context(), own)
	require.Equal(t, Bad, o.Kind, o.Reason)
	require.Contains(t, o.Reason, "no answer within 300ms")
}
