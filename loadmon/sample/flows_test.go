package sample

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// Real connections, over lo of a namespace: those that are open now, and every byte, also of those that ended meanwhile.
func TestFlows(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { chain c { type filter hook output priority 0; ct state established accept; }; }")
	require.NoError(t, err, "%s", out)
	out, err = ns.Output("sysctl", "-w", "net.netfilter.nf_conntrack_acct=1")
	require.NoError(t, err, "%s", out)
	four, err := ns.Listen("tcp", "127.0.0.1:8080")
	require.NoError(t, err)
	t.Cleanup(func() { four.Close() })
	six, err := ns.Listen("tcp", "[::1]:8080")
	require.NoError(t, err)
	t.Cleanup(func() { six.Close() })
	here := []cluster.Listener{
		{Address: netip.MustParseAddrPort("127.0.0.1:8080"), Proto: cluster.TCP}, {Address: netip.MustParseAddrPort("[::1]:8080"), Proto: cluster.TCP},
	}
	exchange := func(l net.Listener, n int) (client, server net.Conn) {
		client, err := ns.Dial(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { client.Close() })
		server, err = l.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { server.Close() })
		_, err = client.Write(make([]byte, n))
		require.NoError(t, err)
		_, err = io.ReadFull(server, make([]byte, n))
		require.NoError(t, err)
		return client, server
	}
	tracked := newTracked()
	look := func(listeners ...cluster.Listener) (out map[cluster.Listener]Flows) {
		require.NoError(t, ns.Do(func() (err error) { out, err = tracked.look(listeners); return err }))
		return out
	}
	exchange(four, 100_000)
	require.Equal(t, map[cluster.Listener]Flows{here[0]: {Active: 1}}, look(here[0]), "what was before is no news")

	exchange(six, 100_000)
	client, server := exchange(four, 5000)
	for range 2 { // the first one closes, and then the other
		client.Close()
		client = server
	}
	seen := look(here...)
	require.Equal(t, uint64(1), seen[here[0]].Active)
	require.InDelta(t, 5000, seen[here[0]].BytesIn, 1500, "the connection is over, its bytes are not lost")
	require.InDelta(t, 300, seen[here[0]].BytesOut, 500)
	require.Equal(t, Flows{Active: 1}, seen[here[1]], "of an instance that is new here, what was before is no news")

	client, _ = exchange(six, 7000)
	_, err = client.Write(make([]byte, 2000))
	require.NoError(t, err)
	seen = look(here...)
	require.Equal(t, Flows{Active: 1}, seen[here[0]], "nothing happened there")
	require.Equal(t, uint64(2), seen[here[1]].Active)
	require.InDelta(t, 9000, seen[here[1]].BytesIn, 1500)
	// More connections than are remembered: their bytes may be missing, and are never counted twice.
	tracked.most = 1
	for range 3 {
		exchange(six, 50_000)
		var sum uint64
		for range 3 {
			for _, f := range look(here...) {
				sum += f.BytesIn
			}
		}
		require.Less(t, sum, uint64(55_000))
		require.Len(t, tracked.bytes, 1)
	}
	tracked.most = maxCounted
	look(here...)
	exchange(six, 50_000)
	require.InDelta(t, 50_000, look(here...)[here[1]].BytesIn, 3000, "there is room again")

	require.Empty(t, look())
	require.Empty(t, tracked.bytes, "what nobody asks for is forgotten")
}
