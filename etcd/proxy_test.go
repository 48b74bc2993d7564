package etcd

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// proxy stands between a store and its etcd.
type proxy struct{ *lab.Proxy }

func forward(t testing.TB, endpoint string) proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return forwardOn(t, l, endpoint)
}

func forwardOn(t testing.TB, l net.Listener, endpoint string) proxy {
	p := lab.StartProxy(l, func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(endpoint, "http://")) })
	t.Cleanup(func() { _ = p.Close() })
	return proxy{p}
}

// forwardTLS takes TLS off on the way.
func forwardTLS(t testing.TB, c *tls.Config, endpoint string) proxy {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	require.NoError(t, err)
	return forwardOn(t, l, endpoint)
}

func (p proxy) endpoint() string { return "http://" + p.Addr().String() }
