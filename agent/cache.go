package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/weir-lb/weir/cluster"
)

// maxCacheBytes bounds what is read of a file that somebody may have replaced.
const maxCacheBytes = 256 << 20

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

func load(name string) (*cluster.Snapshot, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCacheBytes {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", name, maxCacheBytes)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return cluster.FromArchive(file)
}

// CheckSnapshotFile says why the snapshot file of a state directory could not be used; nil where there is none.
func CheckSnapshotFile(dir string) error {
	_, err := load(filepath.Join(dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
