package door

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

func newServer(handler http.HandlerFunc, address netip.AddrPort) *Server {
	return &Server{What: "test", Address: address, Handler: handler, Logger: slog.New(slog.DiscardHandler)}
}

func greet(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// get asks on a connection of its own.
func get(conn net.Conn) (string, error) {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// A port that is taken is no reason to give up.
func TestServerTriesAgain(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", lab.Loopback().String())
	require.NoError(t, err)
	s := newServer(greet, taken.Addr().(*net.TCPAddr).AddrPort())
	require.ErrorContains(t, s.Open(), "address already in use")
	require.Zero(t, s.Port())
	failed := make(chan struct{}, 100)
	s.Failed = func() { failed <- struct{}{} }
	stop := run(t, s.Run)
	<-failed
	require.NoError(t, taken.Close())
	require.Eventually(t, func() bool { return s.Port() == s.Address.Port() }, 20*time.Second, 10*time.Millisecond)
	conn, err := net.Dial("tcp", s.Address.String())
	require.NoError(t, err)
	defer conn.Close()
	text, err := get(conn)
	require.NoError(t, err)
	require.Equal(t, "hello", text)
	stop()
	require.Zero(t, s.Port(), "what has ended does not listen")
	_, err = get(conn)
	require.Error(t, err)
}

func TestServerWithoutItsCertificate(t *testing.T) {
	t.Parallel()
	s := newServer(greet, netip.MustParseAddrPort("127.0.0.1:0"))
	s.TLS = &Credential{CA: "/nonexistent", Cert: "x", Key: "y"}
	require.ErrorContains(t, s.Open(), "read the CA")
	require.Zero(t, s.Port(), "plain is not the way out")
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(greet, netip.MustParseAddrPort("127.0.0.1:0"))
	require.NoError(t, s.Open())
	run(t, s.Run)
	address := netip.AddrPortFrom(s.Address.Addr(), s.Port()).String()
	var conns []net.Conn
	for range maxConnections {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		text, err := get(conn)
		require.NoError(t, err)
		require.Equal(t, "hello", text)
		conns = append(conns, conn)
	}
	more, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer more.Close()
	require.NoError(t, more.SetReadDeadline(time.Now().Add(300*time.Millisecond))) // it asks, however late
	_, err = get(more)
	require.ErrorContains(t, err, "timeout")
	require.NoError(t, conns[0].Close())
	require.NoError(t, more.SetReadDeadline(time.Now().Add(20*time.Second)))
	r, err := http.ReadResponse(bufio.NewReader(more), nil) // what it asked before
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode)
}

// pipes is a listener without a network, so that time is the test's.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Whoever sends slowly, reads slowly or nothing at all is left within seconds.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", 1<<20)
		s := newServer(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, large)
		}, netip.AddrPort{})
		p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.listener = p
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := s.serve(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
		for name, send := range map[string]struct {
			text   string
			within time.Duration
		}{
			"nothing":          {"", 5 * time.Second},
			"half a header":    {"GET / HTTP/1.1\r\nHost: x\r\n", 5 * time.Second},
			"half a body":      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", 11 * time.Second},
			"reads no answer":  {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 11 * time.Second},
			"an endless field": {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 6<<10), 6 * time.Second},
		} {
			conn := p.dial()
			begin := time.Now()
			_, err := io.WriteString(conn, send.text)
			require.NoError(t, err, name)
			time.Sleep(send.within)
			synctest.Wait()
			_, _ = io.Copy(io.Discard, conn) // ends at once when the other side has closed
			require.Equal(t, send.within, time.Since(begin), name)
			_ = conn.Close()
		}
		cancel()
		serving.Wait()
	})
}
