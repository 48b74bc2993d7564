package lab

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxied is a connection to an echo server through a proxy.
func proxied(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := StartProxy(l, func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	t.Cleanup(func() { _ = p.Close() })
	conn, err := net.Dial("tcp", p.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return p, conn
}

// echoed sends a text and returns what comes back in time.
func echoed(t *testing.T, conn net.Conn, text string, within time.Duration) (string, error) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(within)))
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
	answer := make([]byte, len(text))
	n, err := io.ReadFull(conn, answer)
	return string(answer[:n]), err
}

func TestProxy(t *testing.T) {
	const soon, never = 10 * time.Second, 50 * time.Millisecond
	p, conn := proxied(t)
	got, err := echoed(t, conn, "through", soon)
	require.NoError(t, err)
	require.Equal(t, "through", got)

	p.Delay(100 * time.Millisecond)
	begin := time.Now()
	_, err = echoed(t, conn, "late", soon)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond, "both ways")
	p.Delay(0)

	for _, way := range []Direction{Requests, Answers} {
		p.Mute(way, true)
		got, err = echoed(t, conn, "lost", never)
		require.Error(t, err)
		require.Empty(t, got)
		p.Mute(way, false)
	}
	p.MuteAfter(1)
	_, err = echoed(t, conn, "lost", never)
	require.Error(t, err)
	p.Mute(Answers, false)
	got, err = echoed(t, conn, "heard", soon)
	require.NoError(t, err)
	require.Equal(t, "heard", got)
	require.Equal(t, 1, p.Accepted())

	p.Cut()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, os.IsTimeout(err), err)
	require.NoError(t, p.Close())
	_, err = net.Dial("tcp", p.Addr().String())
	require.Error(t, err)
}
