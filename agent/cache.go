package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// maxCacheBytes bounds what is read of a file that somebody may have replaced: some 600,000 instances, more than twice what
// a node has slots for.
const maxCacheBytes = 64 << 20

const (
	snapshotFile = "snapshot.json"
	saving       = "save snapshot"
)

func (a *Agent) cacheFile() string { return filepath.Join(a.c.StateDir, snapshotFile) }

// save writes the snapshot file: aside first, then in place, so that a crash leaves the old one or the new one.
func (a *Agent) save(context.Context) error {
	s := a.Status()
	if a.c.StateDir == "" || s.Snapshot == nil || s.Stale {
		return nil
	}
	temp, err := os.CreateTemp(a.c.StateDir, "snapshot-*")
	if err != nil {
		return fmt.Errorf("save snapshot file: %w", err)
	}
	err = a.archiver.Write(temp, s.Snapshot)
	if info, failed := temp.Stat(); err == nil && failed == nil && info.Size() > maxCacheBytes {
		err = fmt.Errorf("%d bytes would not be read again: at most %d are", info.Size(), maxCacheBytes)
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), a.cacheFile())
	}
	if err != nil {
		return fmt.Errorf("save snapshot file: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	if a.unsaved.Swap(false) {
		a.c.Logger.Info("the snapshot file is written again", "revision", s.Snapshot.Revision)
	}
	// The start leaves more garbage than the agent holds, and the runtime would keep it for minutes.
	a.tidy.Do(debug.FreeOSMemory)
	return nil
}

// load reads the snapshot file. Whoever can write it decides where connections go after a start without etcd, so it has to
// be a file that nobody else could have put there.
func load(name string) (*cluster.Snapshot, error) {
	// A link is not followed, and a pipe does not keep us waiting.
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is not a regular file but a link", name)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := trusted(file); err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxCacheBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxCacheBytes {
		return nil, fmt.Errorf("%s grows while it is read", name)
	}
	return cluster.FromArchive(text)
}

// trusted says why an open file is not to be believed, or nil.
func trusted(file *os.File) error {
	var f, dir unix.Stat_t
	if err := errors.Join(unix.Fstat(int(file.Fd()), &f), unix.Stat(filepath.Dir(file.Name()), &dir)); err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	switch {
	case f.Mode&unix.S_IFMT != unix.S_IFREG, f.Size > maxCacheBytes:
		return fmt.Errorf("is not a regular file of at most %d bytes", maxCacheBytes)
	case f.Mode&0o022 != 0:
		return fmt.Errorf("can be written by others (mode %04o): remove it", f.Mode&0o7777)
	case f.Uid != 0 && int(f.Uid) != os.Geteuid() && f.Uid != dir.Uid:
		return fmt.Errorf("belongs to somebody else (uid %d): remove it", f.Uid)
	}
	return nil
}

// CheckSnapshotFile says why the snapshot file of a state directory could not be used; nil where there is none.
func CheckSnapshotFile(dir string) error {
	_, err := load(filepath.Join(dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
