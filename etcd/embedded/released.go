package embedded

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// heldFor bounds how long a log that is locked is waited for: etcd knows best what to do then.
const heldFor = 5 * time.Second

// released waits until nobody holds the log of the server that was in a directory before, and says whether it is so. A child
// that this process is just starting holds it, too, until it comes to its own program; and etcd ends its whole process where
// it finds its log locked.
func released(ctx context.Context, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, heldFor)
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for logLocked(dir) {
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
	}
	return true
}

func logLocked(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")) // the pattern is sound
	for _, name := range files {
		if fileLocked(name) {
			return true
		}
	}
	return false
}

// fileLocked asks for the kind of lock that etcd takes, and takes none: it belongs to the open file, and so to all who have that.
func fileLocked(name string) bool {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false // etcd says why
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	return syscall.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != syscall.F_UNLCK
}
