package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
)

// makeDir makes a directory, or takes one that belongs to this user and has no more rights than these.
func makeDir(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, mode)
	if err == nil {
		return os.Chmod(dir, mode) // whatever the umask is
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := checkDir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode) // whoever made it may have given others less than they need
}

// checkDir says whether a directory is this user's, is no link, and gives others no more than mode.
func checkDir(dir string, mode fs.FileMode) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%s is not a directory, or is a link: %w: remove it", dir, launcher.ErrUnsafe)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || fs.FileMode(st.Mode)&fs.ModePerm&^mode != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %#o: %w: want user %d and %#o", dir, st.Uid, st.Mode&0o777, launcher.ErrUnsafe, os.Geteuid(), mode)
	}
	return nil
}

// begun is the name of a directory that is being made.
func begun(id string) string { return ".new-" + id }

func unfinished(name string) bool { return strings.HasPrefix(name, ".new-") }

// lockTime is how long a lock may outlive its owner: a process that is just being forked has it until it runs its program.
// That is a moment, unless the machine stalls just then.
const lockTime = 3 * time.Second

var errLocked = errors.New("locked by another process")

// openLock opens and locks a file. The lock belongs to the open file: a process that inherits it holds it on.
func openLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockTime); ; {
		late := time.Now().After(deadline) // before the last try: this process may not have run since the one before
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			break
		}
		if err = errLocked; late {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// locked says whether somebody holds the lock; asking takes nothing away from anybody.
func locked(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	query := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &query); err != nil {
		return false, fmt.Errorf("ask for the lock of %s: %w", name, err)
	}
	return query.Type != unix.F_UNLCK, nil
}
