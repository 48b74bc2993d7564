package agent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// archive is a snapshot as a file.
func archive(t *testing.T, s *cluster.Snapshot) string {
	var text strings.Builder
	require.NoError(t, new(cluster.Archiver).Write(&text, s))
	return text.String()
}

func write(t *testing.T, c *Config, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(c.StateDir, "snapshot.json"), []byte(text), 0o600))
}

func TestColdStart(t *testing.T) {
	inBubble(t, func(n *node, c *Config) {
		n.store.set(errAway, nil)
		write(t, c, archive(t, newHistory().service(1, 2).snapshot()))
	}, func(n *node) {
		n.after(100 * time.Millisecond)
		require.Empty(t, n.holds(), "another member may still answer")
		n.after(100 * time.Millisecond)
		require.Equal(t, map[string]int{"10.10.1.1:80": 2}, n.holds())
		require.True(t, n.Status().Stale)
		require.ErrorIs(t, n.Ready(), errAway)
		require.ErrorContains(t, n.Ready(), "working from the snapshot file, revision 2")

		n.store.set(nil, nil)
		n.deliver(newHistory().service(1, 2).service(1, -1).service(2, 1).snapshot())
		require.NoError(t, n.Ready())
		require.False(t, n.Status().Stale)
		require.Equal(t, map[string]int{"10.10.1.2:80": 1}, n.holds())
	})
}

// TestColdStartInSilence has an etcd that neither answers nor refuses, as a frozen one.
func TestColdStartInSilence(t *testing.T) {
	inBubble(t, func(n *node, c *Config) {
		n.store.set(fmt.Errorf("etcd: %w", ErrNotYet), nil)
		write(t, c, archive(t, newHistory().service(1, 2).snapshot()))
	}, func(n *node) {
		n.after(450 * time.Millisecond)
		require.Empty(t, n.holds(), "etcd may still answer")
		n.after(100 * time.Millisecond)
		require.Equal(t, map[string]int{"10.10.1.1:80": 2}, n.holds())
	})
}

// TestJudgedByTheFile hands the store what was served before the start, unless somebody said that etcd is right.
func TestJudgedByTheFile(t *testing.T) {
	for _, accept := range []bool{false, true} {
		inBubble(t, func(_ *node, c *Config) {
			c.AcceptRollback = accept
			write(t, c, archive(t, newHistory().service(1, 2).snapshot()))
		}, func(n *node) {
			if accept {
				require.Nil(t, n.store.last)
				return
			}
			require.Equal(t, int64(2), n.store.last.Revision)
			require.Equal(t, 1, n.store.last.Services.Len())
		})
	}
}

// TestColdStartTooLate has etcd answer first: then the file does not count.
func TestColdStartTooLate(t *testing.T) {
	inBubble(t, func(_ *node, c *Config) { write(t, c, archive(t, newHistory().service(1, 2).snapshot())) }, func(n *node) {
		n.after(400 * time.Millisecond)
		n.deliver(newHistory().service(2, 1).snapshot())
		n.after(time.Minute)
		require.Equal(t, map[string]int{"10.10.1.2:80": 1}, n.holds())
		require.False(t, n.Status().Stale)
		require.Zero(t, n.log.count("snapshot file"))
	})
}

// TestColdStartBehind has a file that is older than the rules: it is written behind them.
func TestColdStartBehind(t *testing.T) {
	newer := newHistory().service(1, 2).service(2, 3).snapshot()
	files := map[string]*cluster.Snapshot{
		"another size":      newHistory().service(1, 1).service(2, 3).snapshot(),
		"a service is gone": newHistory().service(1, 2).snapshot(),
		"nothing yet":       newHistory().snapshot(),
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(n *node, c *Config) {
				n.store.set(errAway, nil)
				n.kernel.adopt(t, newer)
				write(t, c, archive(t, file))
			}, func(n *node) {
				n.after(time.Minute)
				require.Zero(t, n.kernel.applies)
				require.Equal(t, map[string]int{"10.10.1.1:80": 2, "10.10.1.2:80": 3}, n.holds())
				require.ErrorIs(t, n.Ready(), errAway)
				require.Contains(t, n.Status().Problems[0].What, "older than the rules")
				n.store.set(nil, nil)
				n.deliver(newer)
				require.NoError(t, n.Ready())
				require.Empty(t, n.Status().Problems)
				require.Zero(t, n.kernel.applies)
			})
		})
	}
}

// TestHostileFile puts something else in the place of the snapshot file. It is refused in clear words, and etcd works.
func TestHostileFile(t *testing.T) {
	good := archive(t, newHistory().service(1, 2).snapshot())
	tests := []struct {
		name string
		make func(t *testing.T, c *Config, name string)
		says string
	}{
		{"empty", func(t *testing.T, c *Config, _ string) { write(t, c, "") }, "cut short"},
		{"truncated", func(t *testing.T, c *Config, _ string) { write(t, c, good[:len(good)/2]) }, "cut short"},
		{"changed", func(t *testing.T, c *Config, _ string) {
			write(t, c, strings.Replace(good, "192.168.10.1:80", "192.168.10.9:80", 1))
		}, "its checksum is"},
		{"other format", func(t *testing.T, c *Config, _ string) {
			write(t, c, strings.Replace(good, `"format":1`, `"format":2`, 1))
		}, "format 2"},
		{"symlink", func(t *testing.T, c *Config, name string) {
			require.NoError(t, os.WriteFile(name+".real", []byte(good), 0o600))
			require.NoError(t, os.Symlink(name+".real", name))
		}, "not a regular file"},
		{"pipe", func(t *testing.T, _ *Config, name string) { require.NoError(t, unix.Mkfifo(name, 0o600)) }, "not a regular file"},
		{"directory", func(t *testing.T, _ *Config, name string) { require.NoError(t, os.Mkdir(name, 0o700)) }, "not a regular file"},
		{"huge", func(t *testing.T, c *Config, name string) {
			write(t, c, good)
			require.NoError(t, os.Truncate(name, maxCacheBytes+1)) // sparse
		}, "not a regular file of at most"},
		{"for all to write", func(t *testing.T, c *Config, name string) {
			write(t, c, good)
			require.NoError(t, os.Chmod(name, 0o666))
		}, "can be written by others (mode 0666)"},
		{"somebody else's", func(t *testing.T, c *Config, name string) {
			write(t, c, good)
			require.NoError(t, os.Chown(name, 65534, 65534))
		}, "belongs to somebody else (uid 65534)"},
		{"deep", func(t *testing.T, c *Config, _ string) {
			write(t, c, sealed(`{"services":[{"service":`+strings.Repeat(`{"labels":`, 20000)))
		}, "exceeded max depth"},
		{"not what it says", func(t *testing.T, c *Config, _ string) { write(t, c, sealed(`{"services":{}}`)) }, "[ is wanted, not {"},
		{"a configuration that cannot be", func(t *testing.T, c *Config, _ string) {
			write(t, c, sealed(`{"config":{"vip_pools":["127.0.0.0/8"]},"services":[]}`))
		}, "vip_pools[0]: 127.0.0.0/8 is not a usable network"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(n *node, c *Config) {
				n.store.set(errAway, nil)
				test.make(t, c, filepath.Join(c.StateDir, "snapshot.json"))
			}, func(n *node) {
				n.after(time.Minute)
				require.Empty(t, n.holds())
				require.Equal(t, 1, n.log.count("the snapshot file cannot be used"), n.log.String())
				require.Contains(t, n.log.String(), test.says)
				require.ErrorContains(t, n.Ready(), "no snapshot has been applied yet")
				n.store.set(nil, nil)
				n.deliver(newHistory().service(3, 1).snapshot())
				require.NoError(t, n.Ready())
				require.Equal(t, map[string]int{"10.10.1.3:80": 1}, n.holds())
			})
		})
	}
}

// sealed is content as a file whose checksum is right.
func sealed(content string) string {
	return fmt.Sprintf(`{"format":1,"content":%s,"checksum":%d}`, content, crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli)))
}

// TestHostileServices has a file in whose frame nothing is wrong. What etcd could not have said is left out, what publish
// would not take of a service is left to Resolve, and the rest is served.
func TestHostileServices(t *testing.T) {
	service := func(name, more string) string {
		return fmt.Sprintf(`{"service":{"name":%q,"vips":["10.10.1.%d"],"ports":[{"port":80,"protocol":"tcp"}],"instances":[{"address":"192.168.10.1:80"}]}%s}`, name, len(name), more)
	}
	inBubble(t, func(n *node, c *Config) {
		n.store.set(errAway, nil)
		write(t, c, sealed(`{"revision":9,"nodes":{"n":null,"a/b":{}},"services":[null,{},`+strings.Join([]string{
			service("a", ""), service("../bb", ""), service("ccc", `,"admin":{"192.168.10.1:80":{"weight":1000000000}}`),
			service("dddd", `,"weights":{"share":{"x":-1}}`), service("eeeee", `,"health":{"x":{"verdict":"\u001b[2J"}}`),
			service("ffffff", `,"registered":[{"address":"127.0.0.1:22"},{"address":"169.254.169.254:80"}]`),
		}, ",")+`]}`))
	}, func(n *node) {
		n.after(time.Minute)
		require.Equal(t, map[string]int{"10.10.1.1:80": 1, "10.10.1.6:80": 1}, n.holds())
		require.NotContains(t, n.log.String(), "\x1b")
		text := fmt.Sprint(n.Status().Problems)
		for _, want := range []string{"../bb", "weight 1000000000 is outside", "weight -1 is outside", "want dead, failing, leaving or suspect", "169.254.169.254"} {
			require.Contains(t, text, want)
		}
	})
}

// TestHostileFileIsBounded reads files of many megabytes that are made to grow in memory.
func TestHostileFileIsBounded(t *testing.T) {
	const size = 10 << 20
	repeat := func(before, what, after string) string { return before + strings.Repeat(what, size/len(what)) + after }
	for name, test := range map[string]struct{ content, says string }{
		"nothing, often":        {repeat(`{"services":[`, "{},", `{}]}`), "more than 200000 services"},
		"null, often":           {repeat(`{"services":[`, "null,", `null]}`), "more than 200000 services"},
		"nodes, often":          {repeat(`{"nodes":{`, `"a":{},`, `"b":{}}}`), "more than 200000 nodes"},
		"one long word":         {repeat(`{"services":[{"service":{"name":"`, "a", `"}}]}`), "more than etcd could hold"},
		"unknown fields":        {repeat(`{"x":[`, "[],", `[]],"services":[]}`), ""},
		"pools, often":          {repeat(`{"config":{"vip_pools":[`, `"::/0",`, `"::/0"]}}`), "more than etcd could hold"},
		"instances, all broken": {repeat(`{"services":[{"service":{"name":"a","instances":[`, "{},", `{}]}}]}`), "more than etcd could hold"},
	} {
		file := filepath.Join(t.TempDir(), "snapshot.json")
		require.NoError(t, os.WriteFile(file, []byte(sealed(test.content)), 0o600))
		peak := watchHeap(t)
		s, err := load(file)
		require.Less(t, peak(), int64(15*size), name) // twice what lives, as the collector goes; some more under the race detector
		if test.says != "" {
			require.ErrorContains(t, err, test.says, name)
			continue
		}
		require.NoError(t, err, name)
		require.Zero(t, s.Services.Len(), name)
	}
}

// watchHeap says by how much the heap grew at its highest since.
func watchHeap(t *testing.T) (peak func() int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	begin, highest := int64(m.HeapAlloc), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				highest = max(highest, int64(m.HeapAlloc)-begin)
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		t.Logf("%d MiB at most", highest>>20)
		return highest
	}
}

func TestNoFile(t *testing.T) {
	inBubble(t, func(n *node, _ *Config) { n.store.set(errAway, nil) }, func(n *node) {
		n.after(time.Minute)
		require.Zero(t, n.log.count("snapshot file"), "a first start is no fault")
	})
}

// TestSave writes the file at once, and then at most every ten seconds.
func TestSave(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		h := newHistory()
		n.deliver(h.service(1, 1).snapshot())
		saved := func() int64 {
			s, err := load(n.cacheFile())
			require.NoError(t, err)
			return s.Revision
		}
		require.EqualValues(t, 2, saved())
		n.deliver(h.service(1, 2).snapshot())
		n.deliver(h.service(1, 3).snapshot())
		require.EqualValues(t, 2, saved())
		n.after(10 * time.Second)
		require.Equal(t, h.revision, saved())
		info, err := os.Stat(n.cacheFile())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	})
}

// TestSaveAtStop writes what the last seconds brought.
func TestSaveAtStop(t *testing.T) {
	var file string
	h := newHistory()
	inBubble(t, nil, func(n *node) {
		file = n.cacheFile()
		n.deliver(h.service(1, 1).snapshot())
		n.deliver(h.service(1, 2).snapshot())
	})
	saved, err := load(file)
	require.NoError(t, err)
	require.Equal(t, h.revision, saved.Revision)
}

// TestUnusableStateDir has no room, or no right, for the file. Everything else goes on.
func TestUnusableStateDir(t *testing.T) {
	mount := func(t *testing.T, dir string, flags uintptr) {
		require.NoError(t, unix.Mount("weir-test", dir, "tmpfs", flags, "size=4k"))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	}
	tests := map[string]struct {
		spoil func(t *testing.T, dir string)
		why   error
	}{
		"full":      {func(t *testing.T, dir string) { mount(t, dir, 0) }, unix.ENOSPC},
		"read-only": {func(t *testing.T, dir string) { mount(t, dir, unix.MS_RDONLY) }, unix.EROFS},
		"missing":   {func(t *testing.T, dir string) { require.NoError(t, os.Remove(dir)) }, unix.ENOENT},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			require.NoError(t, os.Mkdir(dir, 0o700))
			test.spoil(t, dir)
			inBubble(t, func(_ *node, c *Config) { c.StateDir = dir }, func(n *node) {
				h := newHistory()
				for i := range 50 {
					n.deliver(h.service(1+i, 40).snapshot())
				}
				n.after(30 * time.Second)
				require.Len(t, n.holds(), 50)
				require.NoError(t, n.Ready())
				require.Equal(t, 1, n.log.count(`msg="save snapshot"`), "one warning")
				require.Contains(t, n.log.String(), test.why.Error())
				left, err := os.ReadDir(dir)
				require.True(t, err == nil || errors.Is(err, os.ErrNotExist))
				for _, e := range left {
					require.Equal(t, "snapshot.json", e.Name(), "nothing half written stays")
				}
			})
		})
	}
}

// TestFileIsLetGo once it has been used: an agent must not hold the cluster twice.
func TestFileIsLetGo(t *testing.T) {
	gone := make(chan struct{})
	run := func() func() *[64]byte {
		v := new([64]byte)
		runtime.SetFinalizer(v, func(*[64]byte) { close(gone) })
		return handOver(v)
	}()
	require.NotNil(t, run())
	require.Nil(t, run())
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(run)
}
