package sample

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListening(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.9:0")
	require.NoError(t, err)
	address := l.Addr().(*net.TCPAddr).AddrPort()
	found, err := Listening()
	require.NoError(t, err)
	require.Contains(t, found, address)
	client, err := net.Dial("tcp4", address.String())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, l.Close())
	found, err = Listening()
	require.NoError(t, err)
	require.NotContains(t, found, address, "a connection that is open is no listener")
}
