package door

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/leaks"
	"github.com/weir-lb/weir/internal/testcerts"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var token = strings.Repeat("t", 40)

// run runs until stop, or the end of the test.
func run(t testing.TB, do func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := do(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// served is a door behind which somebody greets.
func served(t testing.TB, c *Credential) (address netip.AddrPort) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	guard := NewGuard(func(context.Context) (string, error) { return token, nil }, 16, log)
	s := &Server{What: "test", Address: netip.MustParseAddrPort("127.0.0.1:0"), TLS: c, Handler: guard.Before(http.HandlerFunc(greet)), Logger: log}
	require.NoError(t, s.Open())
	run(t, s.Run)
	return netip.AddrPortFrom(s.Address.Addr(), s.Port())
}

func client(t testing.TB, token string) *Client {
	t.Helper()
	c := &Client{Loopback: true, Timeout: time.Minute, Token: func(context.Context) (string, error) { return token, nil }}
	t.Cleanup(c.Close)
	return c
}

// says asks a node for its greeting.
func says(t testing.TB, c *Client, node string, n *cluster.Node) error {
	return c.Ask(t.Context(), Question{Node: node, Record: n, What: "test", URL: n.Monitor, Method: http.MethodGet, Path: "/"}, func(answer io.Reader) error {
		text, err := io.ReadAll(answer)
		if err == nil {
			require.Equal(t, "hello", string(text))
		}
		return err
	})
}

func TestAClientLearnsTheNewToken(t *testing.T) {
	t.Parallel()
	address := served(t, nil)
	c := client(t, token)
	c.token, c.read = strings.Repeat("o", 40), time.Now().Add(time.Hour)
	n := &cluster.Node{Monitor: "http://" + address.String()}
	err := says(t, c, "n1", n)
	require.ErrorContains(t, err, "it answers 401 Unauthorized: give the token of ops/secret", "etcd was asked a moment ago")
	c.mu.Lock()
	c.read = time.Now().Add(-gatePause)
	c.mu.Unlock()
	err = says(t, c, "n1", n)
	require.NoError(t, err)
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
		{"rubbish", "\x1b[2J", &Client{Insecure: true}, "", `as \x1b[2J: want http`},
	} {
		base, _, err := c.client.reachable(Question{Record: &cluster.Node{Addresses: own}, URL: c.monitor})
		require.Equal(t, c.base, base, c.name)
		if c.err == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.err, c.name)
		}
	}
	_, _, err := (&Client{}).reachable(Question{URL: "http://192.0.2.1:80"})
	require.ErrorIs(t, err, ErrNone)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := testcerts.New(t, "weir CA"), testcerts.New(t, "weir CA")
	loopback := net.IPv4(127, 0, 0, 1)
	leader, foreign := issue(t, ca, t.TempDir(), "weir-controlcenter", time.Hour), issue(t, other, t.TempDir(), "weir-controlcenter", time.Hour)
	node := func(c *Credential) *cluster.Node {
		return &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Monitor: "https://" + served(t, c).String()}
	}
	for _, c := range []struct {
		name         string
		server, asks *Credential
		err          string
	}{
		{"its own", issue(t, ca, t.TempDir(), "weir-node-n1", time.Hour), leader, ""},
		{"one for all nodes", issue(t, ca, t.TempDir(), AllNodes, time.Hour), leader, ""},
		{"one of its address", issue(t, ca, t.TempDir(), "host7", time.Hour, loopback), leader, ""},
		{"another node's", issue(t, ca, t.TempDir(), "weir-node-n2", time.Hour), leader, `the certificate of "weir-node-n2" is not that of node n1`},
		{"a viewer's", issue(t, ca, t.TempDir(), "weir-viewer", time.Hour), leader, "is not that of node n1"},
		{"of another address", issue(t, ca, t.TempDir(), "host7", time.Hour, net.IPv4(192, 0, 2, 1)), leader, "is not that of node n1"},
		{"of another CA", issue(t, other, t.TempDir(), "weir-node-n1", time.Hour), leader, "unknown authority"},
		{"expired", issue(t, ca, t.TempDir(), "weir-node-n1", -time.Minute), leader, "expired"},
		{"a client of another CA", issue(t, ca, t.TempDir(), "weir-node-n1", time.Hour), &Credential{CA: leader.CA, Cert: foreign.Cert, Key: foreign.Key}, "tls: "},
	} {
		asks := client(t, token)
		asks.Loopback, asks.TLS = true, c.asks
		err := says(t, asks, "n1", node(c.server))
		if c.err == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.err, c.name)
		}
	}
	n := node(issue(t, ca, t.TempDir(), AllNodes, time.Hour))
	asks := client(t, token)
	asks.TLS = &Credential{}
	err := says(t, asks, "n1", n)
	require.ErrorContains(t, err, "needs all three: --etcd-ca, --etcd-cert and --etcd-key")
	plain := client(t, token)
	err = says(t, plain, "n1", &cluster.Node{Monitor: strings.Replace(n.Monitor, "https", "http", 1)})
	require.ErrorContains(t, err, "400 Bad Request", "no TLS, no answer")
}

// A kept connection to an address that is another node's by now is not taken for that node's.
func TestAnAddressThatMoved(t *testing.T) {
	t.Parallel()
	ca := testcerts.New(t, "weir CA")
	address := served(t, issue(t, ca, t.TempDir(), "weir-node-n1", time.Hour))
	n := &cluster.Node{Monitor: "https://" + address.String()}
	c := client(t, token)
	c.TLS = issue(t, ca, t.TempDir(), "weir-controlcenter", time.Hour)
	err := says(t, c, "n1", n)
	require.NoError(t, err)
	err = says(t, c, "n2", n)
	require.ErrorContains(t, err, `the certificate of "weir-node-n1" is not that of node n2`)
}

// Both sides are rotated in place; in the middle of it, when certificate and key do not belong together, the old ones hold.
func TestRotation(t *testing.T) {
	t.Parallel()
	first, second := testcerts.New(t, "weir CA"), testcerts.New(t, "weir CA")
	nodeDir, leaderDir := t.TempDir(), t.TempDir()
	server, asks := issue(t, first, nodeDir, "weir-node-n1", time.Hour), client(t, token)
	asks.TLS = issue(t, first, leaderDir, "weir-controlcenter", time.Hour)
	n := &cluster.Node{Monitor: "https://" + served(t, server).String()}
	stale := func() {
		for _, c := range []*Credential{server, asks.TLS} {
			c.mu.Lock()
			c.read = time.Time{}
			c.mu.Unlock()
		}
		asks.Close() // and the connection that is kept
	}
	loads := func() error {
		err := says(t, asks, "n1", n)
		return err
	}
	require.NoError(t, loads())
	half := issue(t, second, t.TempDir(), "weir-node-n1", time.Hour)
	require.NoError(t, copyFile(half.Key, server.Key))
	stale()
	require.NoError(t, loads(), "the certificate is not there yet")
	issue(t, second, nodeDir, "weir-node-n1", time.Hour)
	stale()
	require.ErrorContains(t, loads(), "unknown authority")
	issue(t, second, leaderDir, "weir-controlcenter", time.Hour)
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
