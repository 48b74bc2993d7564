package check

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	ask := func(c *cluster.Check, at netip.AddrPort) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(patient))
		defer cancel()
		return Once(ctx, c, at)
	}
	web := &cluster.Check{HTTP: &cluster.HTTPCheck{}, Timeout: patient}
	require.ErrorContains(t, ask(web, at), "503")
	require.NoError(t, ask(nil, at), "it accepts")
	require.NoError(t, ask(&cluster.Check{TTL: &cluster.TTLCheck{}}, at), "what does not connect is not asked")
	well.Store(true)
	require.NoError(t, ask(web, at))
	require.ErrorContains(t, ask(nil, netip.AddrPortFrom(at.Addr(), 1)), "refused")
	require.NoError(t, ask(nil, netip.AddrPortFrom(at.Addr(), 0)), "nothing to connect to")
}
