package process

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A lock that a child of somebody who was killed lets go late is waited for; one that is kept is not waited for long.
func TestALockThatIsLetGoLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "lock")
		before, err := openLock(name)
		require.NoError(t, err)
		defer before.Close()
		fd := before.Fd()
		time.AfterFunc(2*time.Second, func() { // not by closing: a child that another test is starting has it, too
			_ = unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
		})
		lock, err := openLock(name)
		require.NoError(t, err)

		begin := time.Now()
		_, err = openLock(name)
		require.ErrorIs(t, err, errLocked)
		require.InDelta(t, lockTime.Seconds(), time.Since(begin).Seconds(), 0.1)
		require.NoError(t, lock.Close())
	})
}
