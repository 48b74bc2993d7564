package sample

import (
	"net"
	"slices"
	"testing"
	"time"

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
	require.Eventually(t, func() bool { // once no child is left that another test was starting and that has it, too
		found, err := Listening()
		return err == nil && !slices.Contains(found, address)
	}, 20*time.Second, time.Millisecond, "a connection that is open is no listener")
}
