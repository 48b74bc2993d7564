package conntrack

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// tracking is a namespace in which connections over lo are tracked.
func tracking(t *testing.T) *lab.Namespace {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { chain c { type filter hook output priority 0; ct state established accept; }; }")
	require.NoError(t, err, "%s", out)
	return ns
}

func list(t *testing.T, ns *lab.Namespace, to netip.AddrPort) (out []Entry) {
	t.Helper()
	require.NoError(t, ns.Do(func() (err error) {
		out, err = List(Family(to.Addr()), func(e Entry) bool { return e.To == to })
		return err
	}))
	return out
}

// pair is a connection over lo, with both its ends.
func pair(t *testing.T, ns *lab.Namespace, address string) (client, server net.Conn) {
	t.Helper()
	ln, err := ns.Listen("tcp", address)
	require.NoError(t, err)
	defer ln.Close()
	client, err = ns.Dial(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return client, server
}

func TestListAndDelete(t *testing.T) {
	ns := tracking(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, _ := pair(t, ns, address)
		from, to := netip.MustParseAddrPort(client.LocalAddr().String()), netip.MustParseAddrPort(client.RemoteAddr().String())
		found := list(t, ns, to)
		require.Len(t, found, 1)
		e := found[0]
		require.Equal(t, []any{uint8(unix.IPPROTO_TCP), from, to, to, true, uint8(3)}, []any{e.Proto, e.Client, e.To, e.Answers, e.Replied, e.State})
		require.False(t, e.Ending())

		unanswered, err := ns.Dial(t.Context(), "udp", to.String())
		require.NoError(t, err)
		defer unanswered.Close()
		_, err = unanswered.Write([]byte("x"))
		require.NoError(t, err)
		found = list(t, ns, to)
		require.Len(t, found, 2)
		udp := found[0]
		if udp.Proto != unix.IPPROTO_UDP {
			udp = found[1]
		}
		require.Equal(t, []any{unanswered.LocalAddr().String(), false, uint8(0)}, []any{udp.Client.String(), udp.Replied, udp.State})

		for _, existed := range []bool{true, false} {
			require.NoError(t, ns.Do(func() error {
				got, err := udp.Delete()
				require.Equal(t, existed, got)
				return err
			}))
			require.Len(t, list(t, ns, to), 1, "the other one is not touched")
		}
	}
}

// Bytes are counted where the kernel was told to, per direction; and an entry is known again by its hash.
func TestBytes(t *testing.T) {
	ns := tracking(t)
	seed := maphash.MakeSeed()
	quiet, _ := pair(t, ns, "127.0.0.1:0")
	uncounted := list(t, ns, netip.MustParseAddrPort(quiet.RemoteAddr().String()))[0]
	require.Equal(t, [2]uint64{}, [2]uint64{uncounted.Sent, uncounted.Got})

	out, err := ns.Output("sysctl", "-w", "net.netfilter.nf_conntrack_acct=1")
	require.NoError(t, err, "%s", out)
	client, server := pair(t, ns, "127.0.0.1:0")
	to := netip.MustParseAddrPort(client.RemoteAddr().String())
	before := list(t, ns, to)[0]
	_, err = client.Write(make([]byte, 1000))
	require.NoError(t, err)
	_, err = io.ReadFull(server, make([]byte, 1000))
	require.NoError(t, err)
	_, err = server.Write(make([]byte, 5000))
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, 5000))
	require.NoError(t, err)
	after := list(t, ns, to)[0]
	require.InDelta(t, 1000+52, after.Sent-before.Sent, 500, "with the headers of IP and TCP, and acknowledgements")
	require.InDelta(t, 5000+52, after.Got-before.Got, 500)
	require.Equal(t, before.Hash(seed), after.Hash(seed))
	require.NotEqual(t, uncounted.Hash(seed), after.Hash(seed))

	_, err = Parse(append(make([]byte, headerLen), 16, 0, ctaCountOrig, 0, 8, 0, ctaCountBytes, 0, 1, 2, 3, 4, 0, 0, 0, 0))
	require.ErrorIs(t, err, errMalformed)
}

func TestEnding(t *testing.T) {
	ns := tracking(t)
	client, server := pair(t, ns, "127.0.0.1:0")
	to := netip.MustParseAddrPort(client.RemoteAddr().String())
	client.Close()
	_, err := server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.False(t, list(t, ns, to)[0].Ending(), "one side may still speak")
	server.Close()
	require.True(t, list(t, ns, to)[0].Ending())
	require.False(t, Entry{Proto: unix.IPPROTO_UDP, State: Closed}.Ending())
}

func TestReset(t *testing.T) {
	ns := tracking(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, server := pair(t, ns, address)
		other, _ := pair(t, ns, address)
		local, remote := netip.MustParseAddrPort(client.LocalAddr().String()), netip.MustParseAddrPort(client.RemoteAddr().String())
		reset := func(found bool) {
			t.Helper()
			require.NoError(t, ns.Do(func() error {
				got, err := Reset(local, remote)
				require.Equal(t, found, got)
				return err
			}))
		}
		reset(true)
		require.NoError(t, client.SetDeadline(time.Now().Add(20*time.Second)))
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNABORTED)
		require.NoError(t, server.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = server.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.NoError(t, other.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err = other.Read(make([]byte, 1))
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "the other one lives: %v", err)
		reset(false)
	}
}

// TestResetSparesListeners has a listener on all addresses whose port a routed client happens to use.
func TestResetSparesListeners(t *testing.T) {
	ns := tracking(t)
	for _, all := range []string{"0.0.0.0:0", "[::]:0"} {
		ln, err := ns.Listen("tcp", all)
		require.NoError(t, err)
		defer ln.Close()
		port := netip.MustParseAddrPort(ln.Addr().String()).Port()
		client, remote := netip.MustParseAddr("192.168.10.50"), netip.MustParseAddrPort("10.10.1.1:80")
		if all[0] == '[' {
			client, remote = netip.MustParseAddr("fd00:10::50"), netip.MustParseAddrPort("[fd10::1]:80")
		}
		require.NoError(t, ns.Do(func() error {
			found, err := Reset(netip.AddrPortFrom(client, port), remote)
			require.False(t, found)
			return err
		}))
		conn, err := ns.Dial(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
		if all[0] == '[' {
			conn, err = ns.Dial(t.Context(), "tcp", netip.AddrPortFrom(netip.IPv6Loopback(), port).String())
		}
		require.NoError(t, err, "the listener lives")
		conn.Close()
	}
}

func TestWatch(t *testing.T) {
	ns := tracking(t)
	out, err := ns.Output("ip", "address", "add", "127.0.1.1/32", "dev", "lo")
	require.NoError(t, err, "%s", out)
	for _, address := range []string{"127.0.1.1", "::1"} {
		ctx, cancel := context.WithCancel(t.Context())
		seen, ready, ended := make(chan Entry, 10), make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- ns.Do(func() error {
				return Watch(ctx, Events{To: netip.MustParseAddr(address), Ready: func() { close(ready) }}, func(e Entry) { seen <- e })
			})
		}()
		select {
		case <-ready:
		case err := <-ended:
			require.NoError(t, err)
		}
		pair(t, ns, "127.0.0.1:0") // another destination
		client, _ := pair(t, ns, net.JoinHostPort(address, "0"))
		e := <-seen
		require.Equal(t, []string{client.LocalAddr().String(), client.RemoteAddr().String()}, []string{e.Client.String(), e.To.String()})
		require.Empty(t, seen)
		cancel()
		require.NoError(t, <-ended, "ended by its context, Watch returns nil")
	}
}

// A connection to a port where nobody listens is told of; those that are accepted, and then closed or reset, are not.
func TestWatchRefused(t *testing.T) {
	ns := tracking(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, ready, ended := make(chan Entry, 10), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- ns.Do(func() error {
			return WatchRefused(ctx, Events{Ready: func() { close(ready) }}, func(e Entry) { seen <- e })
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := ns.Listen("tcp", address)
		require.NoError(t, err)
		to := ln.Addr().String()
		conn, err := ns.Dial(t.Context(), "tcp", to)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).SetLinger(0))
		require.NoError(t, conn.Close())
		require.NoError(t, ln.Close())
		out, err := ns.Output("conntrack", "-D", "-p", "tcp") // deleted, but answered before
		require.NoError(t, err, "%s", out)
		_, err = ns.Dial(t.Context(), "tcp", to)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		select {
		case e := <-seen:
			require.Equal(t, []string{to, to}, []string{e.To.String(), e.Answers.String()})
		case <-time.After(20 * time.Second):
			t.Fatal("nobody tells of it")
		}
	}
	require.Empty(t, seen)
	cancel()
	require.NoError(t, <-ended, "ended by its context, it returns nil")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 16, 0, 2, 128, 12, 0, 1, 128, 8, 0, 1, 0, 127, 0, 0, 1})
	f.Add([]byte{2, 0, 0, 0, 3, 0, 1, 128})
	f.Fuzz(func(t *testing.T, message []byte) {
		e, err := Parse(message)
		if err == nil {
			e.keep()
			again, err := Parse(append(message[:4:4], e.name[0]...))
			require.NoError(t, err, "what names an entry can be read")
			require.Equal(t, e.Answers, again.Answers)
		}
	})
}
