package external_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/external"
	"github.com/weir-lb/weir/launcher/launchertest"
)

// listen is an instance that somebody else runs, at a place that nobody else comes to while it is away.
func listen(t testing.TB, id string) (launcher.Spec, net.Listener) {
	l, err := net.Listen("tcp", lab.Loopback().String())
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return launcher.Spec{ID: id, Service: "s", Host: at.Addr(), Ports: []cluster.Port{{Port: at.Port()}}}, l
}

func TestDriver(t *testing.T) {
	t.Parallel()
	launchertest.TestDriver(t, func(t testing.TB) launchertest.Bench {
		specs := map[int]launcher.Spec{}
		return launchertest.Bench{
			Open: func(testing.TB) (launcher.Driver, func()) { return external.New(10 * time.Second), func() {} },
			Spec: func(t testing.TB, number int) launcher.Spec {
				if _, there := specs[number]; !there {
					specs[number], _ = listen(t, fmt.Sprintf("i%d", number))
				}
				return specs[number]
			},
		}
	})
}

func TestComesAndGoes(t *testing.T) {
	t.Parallel()
	d := external.New(10 * time.Second)
	spec, l := listen(t, "a")
	state := func() launcher.Status {
		list, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0]
	}
	require.NoError(t, d.Ensure(t.Context(), spec))
	require.Equal(t, launcher.Running, state().State)
	require.NoError(t, l.Close())
	require.ErrorIs(t, d.Ensure(t.Context(), spec), launcher.ErrAbsent)
	require.Equal(t, launcher.Absent, state().State)
	require.Contains(t, state().Problems[0].What, "connection refused")
	l, err := net.Listen("tcp", l.Addr().String())
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, d.Ensure(t.Context(), spec))
	require.Equal(t, launcher.Running, state().State)
	require.Empty(t, state().Problems)
}

func TestOnlyAddresses(t *testing.T) {
	t.Parallel()
	d := external.New(0)
	spec, _ := listen(t, "a")
	spec.Command = []string{"/bin/true"}
	require.ErrorIs(t, d.Ensure(t.Context(), spec), launcher.ErrRefused)
	require.ErrorIs(t, d.Ensure(t.Context(), launcher.Spec{ID: "a", Service: "s"}), launcher.ErrRefused)
	udp := launcher.Spec{ID: "u", Service: "s", Host: netip.MustParseAddr("127.0.0.1"), Ports: []cluster.Port{{Port: 9, Protocol: cluster.UDP}}}
	require.NoError(t, d.Ensure(t.Context(), udp), "nothing would answer")
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// deaf is a port that answers nothing: its queue of connections is full, and nobody takes them.
func deaf(t *testing.T) netip.AddrPort {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	for silent := 0; silent < 3; silent++ { // once may be this machine's own slowness
		if conn, err := net.DialTimeout("tcp", at.String(), 300*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
			silent = -1
		}
	}
	return at
}

// What answers nothing costs the time that was allowed, and a hundred of them cost little more.
func TestSilence(t *testing.T) {
	t.Parallel()
	at := deaf(t)
	d := external.New(300 * time.Millisecond)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			spec := launcher.Spec{ID: fmt.Sprintf("i%02d", i), Service: "s", Host: at.Addr(), Ports: []cluster.Port{{Port: at.Port()}}}
			if err := d.Ensure(t.Context(), spec); !errors.Is(err, launcher.ErrAbsent) {
				t.Errorf("ensure: %v", err)
			}
		})
	}
	wg.Wait()
	start := time.Now()
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Less(t, time.Since(start), 15*time.Second, "one after the other they would need 30")
	require.Len(t, list, 100)
	for _, s := range list {
		require.Equal(t, launcher.Absent, s.State)
		require.Contains(t, s.Problems[0].What, "timeout")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.List(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
