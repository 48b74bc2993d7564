package knock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const group = 4711

// ears is a listener under way.
type ears struct {
	heard chan cluster.Frontend
	ended chan error
	stop  context.CancelFunc
}

// listen returns once the kernel has accepted the listener, or it has ended.
func listen(t *testing.T, ns *lab.Namespace) ears {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	e := ears{heard: make(chan cluster.Frontend, 100), ended: make(chan error, 1), stop: stop}
	ready := make(chan struct{})
	l := Listener{Group: group, Snaplen: 64, NetNS: int(ns.Netns())}
	go func() {
		e.ended <- l.Listen(ctx, func() { close(ready) }, func(f cluster.Frontend) { e.heard <- f }, func() {})
	}()
	select {
	case <-ready:
	case err := <-e.ended:
		e.ended <- err
	}
	t.Cleanup(stop)
	return e
}

// next is what is heard next.
func (e ears) next(t *testing.T, what string) cluster.Frontend {
	t.Helper()
	select {
	case f := <-e.heard:
		return f
	case err := <-e.ended:
		require.NoError(t, err, what)
	case <-time.After(20 * time.Second):
	}
	require.Fail(t, "nothing was heard", what)
	return cluster.Frontend{}
}

// Packets are heard as they were sent, each once, by the one who listens; a second listener is told that there is one.
func TestListen(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { counter heard { }; chain c { type filter hook output priority 0; fib daddr type local oif lo th dport 1000-2000 counter name heard log group 4711 snaplen 64 drop; }; }")
	require.NoError(t, err, "%s", out)
	first := listen(t, ns)
	heard := map[cluster.Frontend]int{}
	for _, to := range []string{"127.0.0.1:1001/udp", "[::1]:1002/udp", "127.0.0.1:1003", "[::1]:1004"} {
		want, err := cluster.ParseFrontend(to)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			c, err := ns.Dial(ctx, want.Proto.String(), netip.AddrPortFrom(want.VIP, want.Port).String())
			if err == nil {
				_, err = c.Write([]byte("x"))
				c.Close()
			}
			failed <- err
		}()
		for heard[want] == 0 {
			got := first.next(t, to)
			heard[got]++
			require.True(t, got == want || heard[got] > 1, "%s: only a client that nobody has stopped yet tries again: %s", to, got)
		}
		cancel()
		require.Error(t, <-failed, "it is dropped")
	}
	sum := 0
	for _, times := range heard {
		sum += times
	}
	require.Eventually(t, func() bool {
		packets, err := ns.Output("nft", "list counter inet t heard")
		return err == nil && strings.Contains(string(packets), fmt.Sprintf("packets %d bytes", sum+len(first.heard)))
	}, 20*time.Second, 10*time.Millisecond, "each once")

	second := listen(t, ns)
	err = <-second.ended
	require.ErrorContains(t, err, "listen to log group 4711: another program listens to it")
	first.stop()
	require.NoError(t, <-first.ended, "ended by its context, Listen returns nil")
	third := listen(t, ns)
	third.stop()
	require.NoError(t, <-third.ended, "the group is free again")
}

// A flood is told of, and what comes after it is heard.
func TestLost(t *testing.T) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table inet t { chain c { type filter hook output priority 0; udp dport 1001 log group 4711 snaplen 64 drop; }; }")
	require.NoError(t, err, "%s", out)
	ctx, cancel := context.WithCancel(t.Context())
	ready, flooded, lost, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan error, 1)
	var heard atomic.Int32
	go func() {
		l := Listener{Group: group, Snaplen: 64, NetNS: int(ns.Netns())}
		ended <- l.Listen(ctx, func() { close(ready) }, func(cluster.Frontend) {
			if heard.Add(1) == 1 {
				<-flooded // it does not read meanwhile
			}
		}, func() {
			select {
			case lost <- struct{}{}:
			default:
			}
		})
	}()
	<-ready
	c, err := ns.Dial(t.Context(), "udp", "127.0.0.1:1001")
	require.NoError(t, err)
	defer c.Close()
	for range 20_000 {
		_, _ = c.Write([]byte("x")) // not permitted: it is dropped
	}
	close(flooded)
	<-lost
	require.Eventually(t, func() bool { return heard.Load() > 1 }, 20*time.Second, time.Millisecond, "what is left is heard")
	cancel()
	require.NoError(t, <-ended)
}

func TestExplain(t *testing.T) {
	l := Listener{Group: 7}
	require.EqualError(t, l.explain(unix.EINVAL), "listen to log group 7: the kernel has no nfnetlink_log: invalid argument")
	err := errors.New("else")
	require.ErrorIs(t, l.explain(err), err)
}

// packet4 and packet6 are the first bytes of packets to port 80.
func packet4(change func([]byte)) []byte {
	p := append([]byte{0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 10, 10, 1, 1}, 0xc0, 1, 0, 80)
	change(p)
	return p
}

func packet6(next byte, extension []byte) []byte {
	p := make([]byte, 40)
	p[0], p[6], p[7] = 0x60, next, 64
	copy(p[24:], netip.MustParseAddr("fd10::1").AsSlice())
	return append(append(p, extension...), 0xc0, 1, 0, 80)
}

func TestDestination(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"IPv4", packet4(func([]byte) {}), "10.10.1.1:80"},
		{"UDP", packet4(func(p []byte) { p[9] = 17 }), "10.10.1.1:80/udp"},
		{"SCTP", packet4(func(p []byte) { p[9] = 132 }), "10.10.1.1:80/sctp"},
		{"ICMP", packet4(func(p []byte) { p[9] = 1 }), ""},
		{"a later fragment", packet4(func(p []byte) { p[7] = 1 }), ""},
		{"options beyond the end", packet4(func(p []byte) { p[0] = 0x4f }), ""},
		{"a header that is too short", packet4(func(p []byte) { p[0] = 0x44 }), ""},
		{"no ports", packet4(func([]byte) {})[:22], ""},
		{"IPv6", packet6(6, nil), "[fd10::1]:80"},
		{"IPv6 with options", packet6(0, []byte{60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0}), "[fd10::1]:80/udp"},
		{"IPv6 with options beyond the end", packet6(0, []byte{6, 9, 0, 0, 0, 0, 0, 0}), ""},
		{"half a header", packet6(6, nil)[:30], ""},
		{"IPv5", []byte{0x55}, ""},
		{"nothing", nil, ""},
	} {
		got, ok := destination(c.packet)
		require.Equal(t, c.want != "", ok, c.name)
		if ok {
			require.Equal(t, c.want, got.String(), c.name)
		}
	}
}

// FuzzFrontendOf reads foreign bytes; what it takes has an address and a protocol of ours.
func FuzzFrontendOf(f *testing.F) {
	for _, packet := range [][]byte{packet4(func([]byte) {}), packet6(6, nil), packet6(0, []byte{6, 0, 0, 0, 0, 0, 0, 0})} {
		attribute := binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, uint16(4+len(packet))), payloadAttribute)
		f.Add(append(append([]byte{2, 0, 0, 0}, attribute...), packet...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, ok := frontendOf(data); ok {
			require.True(t, got.VIP.IsValid())
			require.NotEmpty(t, got.Proto.String())
		}
	})
}

// An answer of the kernel that is no packet of ours is passed over.
func TestOddMessages(t *testing.T) {
	for _, data := range [][]byte{nil, {2, 0, 0, 0}, {2, 0, 0, 0, 3, 0, 9, 0}} {
		_, ok := frontendOf(data)
		require.False(t, ok)
	}
	whole, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: payloadAttribute, Data: packet6(6, nil)}})
	require.NoError(t, err)
	_, ok := frontendOf(append(make([]byte, 4), whole...))
	require.True(t, ok)
}
