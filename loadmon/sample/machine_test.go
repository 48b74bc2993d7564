package sample

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/loadmon"
)

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0
  eth0: IN 9 0 0 0 0 0 0 OUT 9 0 0 0 0 0 0
docker0: 500 9 0 0 0 0 0 0 500 9 0 0 0 0 0 0
`

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
}

func traffic(in, out string) string {
	return strings.NewReplacer("IN", in, "OUT", out).Replace(netDev)
}

func TestMachine(t *testing.T) {
	t.Parallel()
	root, now := t.TempDir(), time.Now()
	write(t, root, map[string]string{
		"proc/stat":         "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 50 0 50 350 50 0 0 0 0 0\ncpu1 50 0 50 350 50 0 0 0 0 0\n",
		"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/meminfo":      "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n",
		"proc/sys/net/netfilter/nf_conntrack_count": "17\n", "proc/sys/net/netfilter/nf_conntrack_max": "262144\n",
		"proc/net/dev": traffic("1000", "2000"), "sys/class/net/eth0/device/vendor": "",
	})
	m, err := newMachine(filepath.Join(root, "proc"), filepath.Join(root, "sys"))
	require.NoError(t, err)
	want := loadmon.HostLoad{Processors: 2, MemoryBytes: 600 << 10, MemoryTotalBytes: 1000 << 10, Conntrack: 17, ConntrackMax: 262144}
	require.Equal(t, want, m.load(now), "one reading says nothing of an interval")

	now = now.Add(5 * time.Second)
	write(t, root, map[string]string{
		"proc/stat":         "cpu  400 0 300 1100 200 0 0 0 0 0\ncpu0 50 0 50 350 50 0 0 0 0 0\ncpu1 50 0 50 350 50 0 0 0 0 0\n",
		"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/net/dev":      traffic("1700", "2003"),
	})
	want.CPU, want.Pressure, want.BytesIn, want.BytesOut = 0.5, 0.3, 700, 3
	require.Equal(t, want, m.load(now))

	// Counters that begin anew.
	now = now.Add(5 * time.Second)
	write(t, root, map[string]string{
		"proc/stat":         "cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 50 0 50 350 50 0 0 0 0 0\n",
		"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/net/dev":      traffic("50", "2003"),
	})
	want.CPU, want.Pressure, want.BytesIn = 0, 0, 750
	require.Equal(t, want, m.load(now))
}

// A host without pressure, tracking and devices; one of which nothing can be read.
func TestMachineThatSaysLess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, map[string]string{"proc/net/dev": traffic("1", "2")})
	m, err := newMachine(filepath.Join(root, "proc"), filepath.Join(root, "sys"))
	require.NoError(t, err)
	require.Equal(t, loadmon.HostLoad{}, m.load(time.Now()))
	write(t, root, map[string]string{"proc/net/dev": strings.ReplaceAll(traffic("11", "12"), "500", "600")})
	require.Equal(t, loadmon.HostLoad{BytesIn: 110, BytesOut: 110}, m.load(time.Now()), "all links but loopback")
	require.NoError(t, os.Remove(filepath.Join(root, "proc/net/dev")))
	require.Equal(t, loadmon.HostLoad{BytesIn: 110, BytesOut: 110}, m.load(time.Now()), "counters do not fall")
	_, err = newMachine(filepath.Join(root, "nowhere"), "")
	require.ErrorContains(t, err, "look at this node")
}

// This very machine.
func TestRealMachine(t *testing.T) {
	t.Parallel()
	m, err := newMachine("/proc", "/sys")
	require.NoError(t, err)
	m.load(time.Now())
	for start := time.Now(); time.Since(start) < 100*time.Millisecond; { // busy for a while
	}
	h := m.load(time.Now())
	require.Positive(t, h.Processors)
	require.Positive(t, h.CPU)
	require.LessOrEqual(t, h.CPU, 1.0)
	require.Greater(t, h.MemoryTotalBytes, uint64(100<<20))
	require.Positive(t, h.MemoryBytes)
	require.Less(t, h.MemoryBytes, h.MemoryTotalBytes)
}
