package etcd

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a store and its etcd and can fall silent, in one direction or both, as a frozen member does.
type proxy struct {
	listener net.Listener
	target   string
	mute     [2]atomic.Bool // requests, answers
	accepted atomic.Int64
	left     atomic.Int64 // answers until it goes deaf, if set

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

const (
	requests = iota
	answers
)

func forward(t testing.TB, endpoint string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return forwardOn(t, l, endpoint)
}

func forwardOn(t testing.TB, l net.Listener, endpoint string) *proxy {
	p := &proxy{listener: l, target: strings.TrimPrefix(endpoint, "http://"), conns: map[net.Conn]bool{}}
	p.done.Go(p.serve)
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.cut()
		p.done.Wait()
	})
	return p
}

// forwardTLS takes TLS off on the way.
func forwardTLS(t testing.TB, c *tls.Config, endpoint string) *proxy {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	require.NoError(t, err)
	return forwardOn(t, l, endpoint)
}

func (p *proxy) endpoint() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) freeze(on bool) {
	p.mute[requests].Store(on)
	p.mute[answers].Store(on)
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.done.Go(func() { p.pump(server, client, requests) })
		p.done.Go(func() { p.pump(client, server, answers) })
	}
}

// pump copies; what arrives while it is mute is lost, which only a later cut makes visible.
func (p *proxy) pump(to, from net.Conn, direction int) {
	defer func() {
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		delete(p.conns, to)
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if direction == answers && n > 0 && p.left.Load() > 0 && p.left.Add(-1) == 0 {
			p.mute[answers].Store(true)
		}
		if n > 0 && !p.mute[direction].Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}
