package sample

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// A listener whose queue is full: the kernel tracks the connections, and answers none. Each is news once, when it was there
// at two looks.
func TestUnanswered(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { chain c { type filter hook output priority 0; ct state established accept; }; }")
	require.NoError(t, err, "%s", out)
	address := netip.MustParseAddrPort("127.0.0.1:8080")
	require.NoError(t, ns.Do(func() error { return listenDeaf(t, address) }))
	dial := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		conn, err := ns.Dial(ctx, "tcp", address.String())
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err == nil
	}
	for dial() { // until the queue is full
	}
	require.False(t, dial())
	answering, err := ns.Listen("tcp", "127.0.0.1:8081")
	require.NoError(t, err)
	t.Cleanup(func() { answering.Close() })
	conn, err := ns.Dial(t.Context(), "tcp", "127.0.0.1:8081")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })

	var told []map[netip.AddrPort]uint64
	kernel := &Kernel{flows: newTracked(), Unanswered: func(m map[netip.AddrPort]uint64) { told = append(told, m) }}
	other := netip.MustParseAddrPort("127.0.0.1:8081")
	look := func() map[netip.AddrPort]uint64 {
		listeners := []cluster.Listener{{Address: address, Proto: cluster.TCP}, {Address: other, Proto: cluster.TCP}, {Address: other, Proto: cluster.UDP}}
		require.NoError(t, ns.Do(func() error { _, err := kernel.Flows(t.Context(), listeners); return err }))
		return told[len(told)-1]
	}
	require.Equal(t, map[netip.AddrPort]uint64{address: 0, other: 0}, look(), "they may be on their way")
	require.False(t, dial())
	require.Equal(t, map[netip.AddrPort]uint64{address: 2, other: 0}, look())
	require.Equal(t, map[netip.AddrPort]uint64{address: 1, other: 0}, look(), "the later one, too")
	require.Equal(t, map[netip.AddrPort]uint64{address: 0, other: 0}, look(), "each counts once")
}

// listenDeaf listens with the shortest queue and accepts nobody.
func listenDeaf(t *testing.T, a netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}); err != nil {
		return err
	}
	return unix.Listen(fd, 0)
}
