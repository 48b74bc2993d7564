package sample

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/procfs"

	"github.com/weir-lb/weir/loadmon"
)

// machine reads a node's own figures. What cannot be read is 0: the instances are sampled without it.
type machine struct {
	fs        procfs.FS
	files     files
	proc, sys string

	at      time.Time
	cpu     procfs.CPUStat
	waited  uint64 // microseconds
	links   map[string][2]uint64
	in, out uint64
}

func newMachine(proc, sys string) (*machine, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil, fmt.Errorf("look at this node: %w", err)
	}
	return &machine{fs: fs, proc: proc, sys: sys}, nil
}

func (m *machine) load(now time.Time) loadmon.HostLoad {
	h := loadmon.HostLoad{}
	elapsed := time.Duration(0)
	if !m.at.IsZero() {
		elapsed = now.Sub(m.at)
	}
	m.at = now
	if stat, err := m.fs.Stat(); err == nil {
		h.Processors, h.CPU = len(stat.CPU), used(m.cpu, stat.CPUTotal)
		m.cpu = stat.CPUTotal
	}
	if psi, err := m.fs.PSIStatsForResource("cpu"); err == nil && psi.Some != nil { // of a whole node, "full" is always 0
		if elapsed > 0 && psi.Some.Total >= m.waited {
			h.Pressure = min(float64(psi.Some.Total-m.waited)/float64(elapsed.Microseconds()), 1)
		}
		m.waited = psi.Some.Total
	}
	if mem, err := m.fs.Meminfo(); err == nil && mem.MemTotalBytes != nil && mem.MemAvailableBytes != nil {
		h.MemoryTotalBytes = *mem.MemTotalBytes
		h.MemoryBytes = h.MemoryTotalBytes - min(*mem.MemAvailableBytes, h.MemoryTotalBytes)
	}
	h.Conntrack, h.ConntrackMax = m.count("nf_conntrack_count"), m.count("nf_conntrack_max")
	h.BytesIn, h.BytesOut = m.network()
	return h
}

// used is the part of the time between two readings in which the processors did something. The first one has none before.
func used(before, after procfs.CPUStat) float64 {
	sum := func(s procfs.CPUStat) (busy, all float64) {
		busy = s.User + s.Nice + s.System + s.IRQ + s.SoftIRQ + s.Steal // what guests used is in User and Nice
		return busy, busy + s.Idle + s.Iowait
	}
	wasBusy, was := sum(before)
	isBusy, is := sum(after)
	if was == 0 || is <= was {
		return 0
	}
	return min(max((isBusy-wasBusy)/(is-was), 0), 1)
}

func (m *machine) count(name string) uint64 {
	n, err := m.files.number(filepath.Join(m.proc, "sys/net/netfilter", name))
	if err != nil {
		return 0
	}
	return uint64(max(n, 0))
}

// network adds up what the links to the outside carried since the first call: those that have a device; where none has, as in
// a namespace, all but loopback. Bridges and their ports would count the same packets again.
func (m *machine) network() (in, out uint64) {
	devices, err := m.fs.NetDev()
	if err != nil {
		return m.in, m.out
	}
	real, all := map[string][2]uint64{}, map[string][2]uint64{}
	for name, d := range devices {
		if name == "lo" {
			continue
		}
		all[name] = [2]uint64{d.RxBytes, d.TxBytes}
		if _, err := os.Stat(filepath.Join(m.sys, "class/net", name, "device")); err == nil {
			real[name] = all[name]
		}
	}
	if len(real) == 0 {
		real = all
	}
	for name, now := range real {
		if before, known := m.links[name]; known { // one that is new has carried for nobody knows how long
			m.in += Since(before[0], now[0])
			m.out += Since(before[1], now[1])
		}
	}
	m.links = real
	return m.in, m.out
}
