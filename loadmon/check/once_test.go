package check

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	well := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	ask := func(c *cluster.Check, at netip.AddrPort) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return Once(ctx, c, at)
	}
	require.ErrorContains(t, ask(&cluster.Check{HTTP: &cluster.HTTPCheck{}}, at), "503")
	require.NoError(t, ask(nil, at), "it accepts")
	require.NoError(t, ask(&cluster.Check{TTL: &cluster.TTLCheck{}}, at), "what does not connect is not asked")
	well = true
	require.NoError(t, ask(&cluster.Check{HTTP: &cluster.HTTPCheck{}}, at))
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := netip.MustParseAddrPort(gone.Addr().String())
	require.NoError(t, gone.Close())
	require.ErrorContains(t, ask(nil, address), "refused")
	require.NoError(t, ask(nil, netip.AddrPortFrom(address.Addr(), 0)), "nothing to connect to")
}
