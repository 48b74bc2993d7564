package monitor

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// served is a monitor that answers on a port of its own.
func served(t testing.TB, m *Monitor, c *Credential) (address netip.AddrPort) {
	t.Helper()
	s := &Server{Address: netip.MustParseAddrPort("127.0.0.1:0"), TLS: c, Handler: m.Handler(), Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(nil)}
	require.NoError(t, s.Open())
	run(t, s.Run)
	return netip.AddrPortFrom(s.Address.Addr(), s.Port())
}

// measured is a monitor with a report.
func measured(t testing.TB, s *store) *Monitor {
	t.Helper()
	m := newMonitor(t, Config{Store: s})
	m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
	require.NoError(t, m.sample(t.Context()))
	return m
}

func client(t testing.TB, tokens ...string) *Client {
	t.Helper()
	c := &Client{Loopback: true, Timeout: time.Minute, Token: func(context.Context) (string, error) {
		next := tokens[0]
		if len(tokens) > 1 {
			tokens = tokens[1:]
		}
		return next, nil
	}}
	t.Cleanup(c.Close)
	return c
}

func TestLoads(t *testing.T) {
	t.Parallel()
	address := served(t, measured(t, &store{token: token}), nil)
	c := client(t, token)
	for range 3 {
		r, problems, err := c.Loads(t.Context(), "n1", &cluster.Node{Monitor: "http://" + address.String()})
		require.NoError(t, err)
		require.Empty(t, problems)
		require.Equal(t, "n1", r.Node)
		require.Len(t, r.Loads, 1)
		require.Equal(t, "192.168.1.1:80", r.Loads[0].Instance)
	}
}

func TestAClientLearnsTheNewToken(t *testing.T) {
	t.Parallel()
	address := served(t, measured(t, &store{token: token}), nil)
	c := client(t, strings.Repeat("o", 40), token)
	n := &cluster.Node{Monitor: "http://" + address.String()}
	_, _, err := c.Loads(t.Context(), "n1", n)
	require.ErrorContains(t, err, "it answers 401 Unauthorized: give the token of ops/secret", "etcd was asked a moment ago")
	c.mu.Lock()
	c.read = c.read.Add(-gatePause)
	c.mu.Unlock()
	_, _, err = c.Loads(t.Context(), "n1", n)
	require.NoError(t, err)
}

func TestAClientWithoutToken(t *testing.T) {
	t.Parallel()
	n := &cluster.Node{Monitor: "http://127.0.0.1:1"}
	_, _, err := client(t, "").Loads(t.Context(), "n1", n)
	require.ErrorIs(t, err, ErrNoToken)
	c := client(t)
	c.Token = func(context.Context) (string, error) { return "", cluster.ErrDenied }
	_, err = c.Look(t.Context(), "n1", n, nil)
	require.ErrorIs(t, err, cluster.ErrDenied)
}

// What a node's record says decides where the token is sent: nowhere but to the node itself.
func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	own := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}
	a := &Credential{}
	for _, c := range []struct {
		name, monitor string
		client        *Client
		base, err     string
	}{
		{"none", "", &Client{}, "", ErrNone.Error()},
		{"plain", "http://192.0.2.1:9647", &Client{Insecure: true}, "http://192.0.2.1:9647", ""},
		{"IPv6", "http://[2001:db8::1]:9647", &Client{Insecure: true}, "http://[2001:db8::1]:9647", ""},
		{"TLS", "https://192.0.2.1:9647", &Client{TLS: a}, "https://192.0.2.1:9647", ""},
		{"on this host", "http://127.0.0.1:9647", &Client{Loopback: true}, "http://127.0.0.1:9647", ""},

		{"plain, to another host", "http://192.0.2.1:9647", &Client{TLS: a}, "", "the token would be read on the way"},
		{"TLS without certificate", "https://192.0.2.1:9647", &Client{Insecure: true}, "", "--etcd-cert"},
		{"loopback of another host", "http://127.0.0.1:9647", &Client{Insecure: true, TLS: a}, "", "of its node only"},
		{"another's address", "http://192.0.2.2:9647", &Client{Insecure: true}, "", "not an address of the node"},
		{"metadata", "http://169.254.169.254:80", &Client{Insecure: true}, "", "not an address of the node"},
		{"mapped", "http://[::ffff:192.0.2.1]:80", &Client{Insecure: true}, "", "not an address of the node"},
		{"unspecified", "http://0.0.0.0:80", &Client{Insecure: true, Loopback: true}, "", "not an address of the node"},
		{"a name", "http://localhost:9647", &Client{Loopback: true}, "", "want http(s)://ADDRESS:PORT"},
		{"no port", "http://192.0.2.1", &Client{Insecure: true}, "", "want http"},
		{"port 0", "http://192.0.2.1:0", &Client{Insecure: true}, "", "want http"},
		{"a path", "http://192.0.2.1:9647/x", &Client{Insecure: true}, "", "want http"},
		{"a query", "http://192.0.2.1:9647?x", &Client{Insecure: true}, "", "want http"},
		{"a user", "http://u:p@192.0.2.1:9647", &Client{Insecure: true}, "", "want http"},
		{"another scheme", "gopher://192.0.2.1:9647", &Client{Insecure: true}, "", "want http"},
		{"rubbish", "\x1b[2J", &Client{Insecure: true}, "", "as  [2J: want http"},
	} {
		base, _, err := c.client.reachable(&cluster.Node{Addresses: own, Monitor: c.monitor})
		require.Equal(t, c.base, base, c.name)
		if c.err == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.err, c.name)
		}
	}
	_, _, err := (&Client{}).reachable(nil)
	require.ErrorIs(t, err, ErrNone)
}

// Whoever sits on a node's port can neither lead us elsewhere nor keep us.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for want, handler := range map[string]http.HandlerFunc{
		"it answers 302 Found": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"it answers 500 Internal Server Error:  [2J": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "\x1b[2J"+strings.Repeat("x", 1<<20), http.StatusInternalServerError)
		},
		"invalid character": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"is larger than": func(w http.ResponseWriter, _ *http.Request) {
			for range 80 {
				_, _ = io.WriteString(w, strings.Repeat(" ", 64<<10))
			}
		},
		"deadline exceeded": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"server response headers exceeded": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
	} {
		server := httptest.NewServer(handler)
		c := client(t, token)
		if c.Timeout = 20 * time.Second; want == "deadline exceeded" {
			c.Timeout = 100 * time.Millisecond
		}
		_, _, err := c.Loads(t.Context(), "n1", &cluster.Node{Monitor: server.URL})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\x1b")
		require.Less(t, len(err.Error()), 600)
		require.NotContains(t, err.Error(), token)
		server.CloseClientConnections()
		server.Close()
	}
	require.Zero(t, elsewhere.Load())
	_, _, err := client(t, token).Loads(t.Context(), "n1", &cluster.Node{Monitor: "http://127.0.0.1:1"})
	require.ErrorContains(t, err, "ask the load monitor of node n1 at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	loopback := net.IPv4(127, 0, 0, 1)
	leader, foreign := ca.issue(t, t.TempDir(), "weir-controlcenter", time.Hour), other.issue(t, t.TempDir(), "weir-controlcenter", time.Hour)
	node := func(c *Credential) *cluster.Node {
		return &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Monitor: "https://" + served(t, measured(t, &store{token: token}), c).String()}
	}
	for _, c := range []struct {
		name         string
		server, asks *Credential
		err          string
	}{
		{"its own", ca.issue(t, t.TempDir(), "weir-node-n1", time.Hour), leader, ""},
		{"one for all nodes", ca.issue(t, t.TempDir(), AllNodes, time.Hour), leader, ""},
		{"one of its address", ca.issue(t, t.TempDir(), "host7", time.Hour, loopback), leader, ""},
		{"another node's", ca.issue(t, t.TempDir(), "weir-node-n2", time.Hour), leader, `the certificate of "weir-node-n2" is not that of node n1`},
		{"a viewer's", ca.issue(t, t.TempDir(), "weir-viewer", time.Hour), leader, "is not that of node n1"},
		{"of another address", ca.issue(t, t.TempDir(), "host7", time.Hour, net.IPv4(192, 0, 2, 1)), leader, "is not that of node n1"},
		{"of another CA", other.issue(t, t.TempDir(), "weir-node-n1", time.Hour), leader, "unknown authority"},
		{"expired", ca.issue(t, t.TempDir(), "weir-node-n1", -time.Minute), leader, "expired"},
		{"a client of another CA", ca.issue(t, t.TempDir(), "weir-node-n1", time.Hour), &Credential{CA: leader.CA, Cert: foreign.Cert, Key: foreign.Key}, "tls: "},
	} {
		asks := client(t, token)
		asks.Loopback, asks.TLS = true, c.asks
		_, _, err := asks.Loads(t.Context(), "n1", node(c.server))
		if c.err == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.err, c.name)
		}
	}
	n := node(ca.issue(t, t.TempDir(), AllNodes, time.Hour))
	asks := client(t, token)
	asks.TLS = &Credential{}
	_, _, err := asks.Loads(t.Context(), "n1", n)
	require.ErrorContains(t, err, "needs all three: --etcd-ca, --etcd-cert and --etcd-key")
	plain := client(t, token)
	_, _, err = plain.Loads(t.Context(), "n1", &cluster.Node{Monitor: strings.Replace(n.Monitor, "https", "http", 1)})
	require.ErrorContains(t, err, "400 Bad Request", "no TLS, no answer")
}

// A kept connection to an address that is another node's by now is not taken for that node's.
func TestAnAddressThatMoved(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	address := served(t, measured(t, &store{token: token}), ca.issue(t, t.TempDir(), "weir-node-n1", time.Hour))
	n := &cluster.Node{Monitor: "https://" + address.String()}
	c := client(t, token)
	c.TLS = ca.issue(t, t.TempDir(), "weir-controlcenter", time.Hour)
	_, _, err := c.Loads(t.Context(), "n1", n)
	require.NoError(t, err)
	_, _, err = c.Loads(t.Context(), "n2", n)
	require.ErrorContains(t, err, `the certificate of "weir-node-n1" is not that of node n2`)
}

// Both sides are rotated in place; in the middle of it, when certificate and key do not belong together, the old ones hold.
func TestRotation(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t), newAuthority(t)
	nodeDir, leaderDir := t.TempDir(), t.TempDir()
	server, asks := first.issue(t, nodeDir, "weir-node-n1", time.Hour), client(t, token)
	asks.TLS = first.issue(t, leaderDir, "weir-controlcenter", time.Hour)
	n := &cluster.Node{Monitor: "https://" + served(t, measured(t, &store{token: token}), server).String()}
	stale := func() {
		for _, c := range []*Credential{server, asks.TLS} {
			c.mu.Lock()
			c.read = time.Time{}
			c.mu.Unlock()
		}
		asks.Close() // and the connection that is kept
	}
	loads := func() error {
		_, _, err := asks.Loads(t.Context(), "n1", n)
		return err
	}
	require.NoError(t, loads())
	half := second.issue(t, t.TempDir(), "weir-node-n1", time.Hour)
	require.NoError(t, copyFile(half.Key, server.Key))
	stale()
	require.NoError(t, loads(), "the certificate is not there yet")
	second.issue(t, nodeDir, "weir-node-n1", time.Hour)
	stale()
	require.ErrorContains(t, loads(), "unknown authority")
	second.issue(t, leaderDir, "weir-controlcenter", time.Hour)
	stale()
	require.NoError(t, loads())

	_, err := (&Credential{CA: "/nonexistent", Cert: "x", Key: "y"}).Server()
	require.ErrorContains(t, err, "read the CA")
	_, err = (&Credential{CA: half.Key, Cert: half.Cert, Key: half.Key}).Server()
	require.ErrorContains(t, err, "holds no certificate in PEM form")
	_, err = (&Credential{CA: half.CA, Cert: half.CA, Key: half.Key}).Server()
	require.ErrorContains(t, err, "read the certificate")
	require.ErrorContains(t, verify(nil, nil, "n1", netip.Addr{}), "no certificate")
}
