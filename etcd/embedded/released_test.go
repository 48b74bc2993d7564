package embedded

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestStartWaitsForAChild has somebody hold the log of the server before, as a child does that is being started.
func TestStartWaitsForAChild(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "127.0.0.1:0", "v1")
	logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	child, err := os.OpenFile(logs[0], os.O_RDWR, 0)
	require.NoError(t, err)
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	require.NoError(t, syscall.FcntlFlock(child.Fd(), unix.F_OFD_SETLK, &lock))

	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.False(t, released(soon, dir))
	time.AfterFunc(100*time.Millisecond, func() { _ = child.Close() }) // it comes to its own program
	require.Equal(t, "v1", put(t, dir, "127.0.0.1:0", "v2"))
	require.True(t, released(t.Context(), dir))
}
