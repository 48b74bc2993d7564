package sample

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
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
	kernel := &Kernel{flows: newTracked(), Failed: func(m, _ map[netip.AddrPort]uint64) { told = append(told, m) }}
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

// A port where nobody listens: each connection that is refused is news once, as soon as it was.
func TestRefused(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { chain c { type filter hook output priority 0; ct state established accept; }; }")
	require.NoError(t, err, "%s", out)
	var refused map[netip.AddrPort]uint64
	kernel := &Kernel{flows: newTracked(), Failed: func(_, m map[netip.AddrPort]uint64) { refused = m }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ns.Do(func() error { return kernel.Hear(ctx, func(err error) { ended <- err }) }) }()
	address := netip.MustParseAddrPort("127.0.0.1:8080")
	look := func() uint64 {
		require.NoError(t, ns.Do(func() error {
			_, err := kernel.Flows(t.Context(), []cluster.Listener{{Address: address, Proto: cluster.TCP}})
			return err
		}))
		return refused[address]
	}
	dial := func() {
		_, err := ns.Dial(t.Context(), "tcp", address.String())
		require.ErrorIs(t, err, unix.ECONNREFUSED)
	}
	require.Eventually(t, func() bool { dial(); return look() > 0 }, 10*time.Second, time.Millisecond, "it hears by now")
	dial()
	for n := uint64(0); n == 0; n = look() { // the last of those before may still be on its way
	}
	require.Eventually(t, func() bool { return look() == 0 }, 10*time.Second, time.Millisecond)
	for range 3 {
		dial()
	}
	total := uint64(0)
	require.Eventually(t, func() bool { total += look(); return total == 3 }, 10*time.Second, time.Millisecond)
	require.Zero(t, look(), "each counts once")
	cancel()
	require.NoError(t, <-ended)
}

// What many addresses refuse is bounded.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	var r refusals
	for i := range maxRefusing + 10 {
		r.add(conntrack.Entry{Answers: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 16), byte(i >> 8)}), uint16(i&0xff))})
	}
	r.add(conntrack.Entry{Answers: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10}), 7)})
	counts := r.take()
	require.Len(t, counts, maxRefusing)
	require.Equal(t, uint64(2), counts[netip.AddrPortFrom(netip.AddrFrom4([4]byte{10}), 7)])
	require.Empty(t, r.take())
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
