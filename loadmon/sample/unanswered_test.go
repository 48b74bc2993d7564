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
	var deaf int
	require.NoError(t, ns.Do(func() (err error) { deaf, err = listenDeaf(t, address); return err }))
	answering, err := ns.Listen("tcp", "127.0.0.1:8081")
	require.NoError(t, err)
	t.Cleanup(func() { answering.Close() })
	for _, to := range []string{"127.0.0.1:8080", "127.0.0.1:8081"} { // the queue takes one
		conn, err := ns.Dial(t.Context(), "tcp", to)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
	}
	require.Eventually(t, func() bool {
		info, err := unix.GetsockoptTCPInfo(deaf, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err == nil && info.Unacked == 1 // of a listener: connections that nobody accepted yet
	}, 20*time.Second, time.Millisecond)
	dial := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := ns.Dial(ctx, "tcp", address.String())
		return err == nil
	}
	require.False(t, dial())
	require.False(t, dial())

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
	refused := map[netip.AddrPort]uint64{}
	kernel := &Kernel{flows: newTracked(), Failed: func(_, m map[netip.AddrPort]uint64) {
		for a, n := range m {
			refused[a] += n
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ns.Do(func() error { return kernel.Hear(ctx, func(err error) { ended <- err }) }) }()
	loopback := netip.MustParseAddr("127.0.0.1")
	address := netip.AddrPortFrom(loopback, 8080)
	look := func(at netip.AddrPort) uint64 {
		require.NoError(t, ns.Do(func() error {
			_, err := kernel.Flows(t.Context(), []cluster.Listener{{Address: address, Proto: cluster.TCP}})
			return err
		}))
		return refused[at]
	}
	dial := func(to netip.AddrPort) {
		_, err := ns.Dial(t.Context(), "tcp", to.String())
		require.ErrorIs(t, err, unix.ECONNREFUSED)
	}
	first := netip.AddrPortFrom(loopback, 8081)
	require.Eventually(t, func() bool { dial(first); return look(first) > 0 }, 20*time.Second, time.Millisecond, "it hears by now")
	for range 3 {
		dial(address)
	}
	for _, port := range []uint16{8082, 8083} { // what is refused is told of in its order: with the last one all are heard of
		last := netip.AddrPortFrom(loopback, port)
		dial(last)
		require.Eventually(t, func() bool { return look(last) > 0 }, 20*time.Second, time.Millisecond)
		require.Equal(t, uint64(3), refused[address], "each counts, and once")
	}
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
func listenDeaf(t *testing.T, a netip.AddrPort) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}); err != nil {
		return -1, err
	}
	return fd, unix.Listen(fd, 0)
}
