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

// echoed sends a text and wants it back.
func echoed(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
	answer := make([]byte, len(text))
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, text, string(answer), "and nothing of what was lost before")
}

func TestProxy(t *testing.T) {
	p, conn := proxied(t)
	echoed(t, conn, "through")

	p.Delay(100 * time.Millisecond)
	begin := time.Now()
	echoed(t, conn, "late")
	require.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond, "both ways")
	p.Delay(0)

	// lost sends a text that gets lost, and lets texts pass again.
	lost := func(way Direction) {
		before := p.lost.Load()
		_, err := conn.Write([]byte("lost"))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return p.lost.Load() == before+1 }, patience, time.Millisecond)
		p.Mute(way, false)
	}
	for _, way := range []Direction{Requests, Answers} {
		p.Mute(way, true)
		lost(way)
		echoed(t, conn, "heard")
	}
	p.MuteAfter(1)
	lost(Answers)
	echoed(t, conn, "heard")
	require.Equal(t, 1, p.Accepted())

	p.Cut()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, os.IsTimeout(err), err)
	require.NoError(t, p.Close())
	_, err = net.Dial("tcp", p.Addr().String())
	require.Error(t, err)
}
