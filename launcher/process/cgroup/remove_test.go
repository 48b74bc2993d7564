package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A group that the kernel calls busy without members is waited for: the last one is on its way out. One with members is not.
func TestRemoveWaitsForTheLastMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "group")
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "")) // what is mounted on is busy, too
		defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
		g := Group{Unified: dir}
		procs := filepath.Join(dir, "cgroup.procs")
		require.NoError(t, os.WriteFile(procs, []byte("1\n"), 0o644))
		begin := time.Now()
		require.ErrorIs(t, g.Remove(), unix.EBUSY)
		require.Zero(t, time.Since(begin))

		require.NoError(t, os.WriteFile(procs, nil, 0o644))
		require.ErrorIs(t, g.Remove(), unix.EBUSY)
		require.GreaterOrEqual(t, time.Since(begin), leaving, "for a while")
		time.AfterFunc(leaving/2, func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		require.NoError(t, g.Remove())
		require.NoDirExists(t, dir)
	})
}
