package lab

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Clients on this host do not take ports of the address.
func TestLoopback(t *testing.T) {
	t.Parallel()
	a, b := Loopback(), Loopback()
	require.NotEqual(t, a, b)
	l, err := net.Listen("tcp", a.String())
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "127.0.0.1", c.LocalAddr().(*net.TCPAddr).IP.String())
}
