package monitor

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
)

// served is a monitor that answers on a port of its own.
func served(t testing.TB, m *Monitor) (address netip.AddrPort) {
	t.Helper()
	s := &door.Server{What: What, Address: netip.MustParseAddrPort("127.0.0.1:0"), Handler: m.Handler(), Logger: slog.New(slog.DiscardHandler)}
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
	c := &Client{Client: door.Client{Loopback: true, Timeout: time.Minute, Token: func(context.Context) (string, error) {
		next := tokens[0]
		if len(tokens) > 1 {
			tokens = tokens[1:]
		}
		return next, nil
	}}}
	t.Cleanup(c.Close)
	return c
}

func TestLoads(t *testing.T) {
	t.Parallel()
	address := served(t, measured(t, &store{token: token}))
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

func TestAClientWithoutToken(t *testing.T) {
	t.Parallel()
	n := &cluster.Node{Monitor: "http://127.0.0.1:1"}
	_, _, err := client(t, "").Loads(t.Context(), "n1", n)
	require.ErrorIs(t, err, door.ErrNoToken)
	c := client(t)
	c.Token = func(context.Context) (string, error) { return "", cluster.ErrDenied }
	_, err = c.Look(t.Context(), "n1", n, nil)
	require.ErrorIs(t, err, cluster.ErrDenied)
}

// Whoever sits on a node's port can neither lead us elsewhere nor keep us.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for want, handler := range map[string]http.HandlerFunc{
		"it answers 302 Found": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		`it answers 500 Internal Server Error: \x1b[2J`: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "\x1b[2J"+strings.Repeat("x", 1<<20), http.StatusInternalServerError)
		},
		"the report cannot be read: it is no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
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
