package ops

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// systemd listens where NOTIFY_SOCKET points, as the real one does.
func systemd(t *testing.T) (next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		buf := make([]byte, 256)
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
}

func TestNotify(t *testing.T) {
	next := systemd(t)
	require.NoError(t, NotifyReady())
	require.Equal(t, "READY=1", next())
	require.NoError(t, NotifyStopping())
	require.Equal(t, "STOPPING=1", next())
}

func TestNotifyWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	require.NoError(t, NotifyReady())
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	require.ErrorContains(t, NotifyStopping(), "STOPPING=1")
}

func TestWatchdogPings(t *testing.T) {
	next := systemd(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Watchdog(ctx, func() error { return nil }) }()
	for range 3 {
		require.Equal(t, "WATCHDOG=1", next())
	}
	cancel()
	require.NoError(t, <-ended)
}

func TestWatchdogNotAskedFor(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Watchdog(ctx, func() error { panic("not called") }))
}

func TestWatchdogSetUpWrongly(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	t.Setenv("WATCHDOG_PID", "")
	require.ErrorContains(t, Watchdog(t.Context(), nil), "watchdog")
}

func TestWatchPingsOnlyWhileHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var pings []time.Duration
		healthy := func() error {
			if d := time.Since(start); d >= 12*time.Second && d < 22*time.Second {
				return errors.New("stuck")
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
		defer cancel()
		watch(ctx, 5*time.Second, healthy, func() { pings = append(pings, time.Since(start)/time.Second) })
		require.Equal(t, []time.Duration{0, 5, 10, 25, 30}, pings)
	})
}
