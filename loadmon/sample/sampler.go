package sample

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// Host is what a Sampler asks of the node that it runs on.
type Host interface {
	// Opened counts new connections. Counters may begin anew.
	Opened(ctx context.Context) (map[cluster.Listener]uint64, error)
	// Flows are the connections that are open now, and what they carried since the last time.
	Flows(ctx context.Context, listeners []cluster.Listener) (map[cluster.Listener]Flows, error)
	// Processes are those that listen.
	Processes(listeners []cluster.Listener) (map[cluster.Listener]int, error)
	// Usage is what a process has used.
	Usage(pid int) (Usage, error)
	// Machine is the host itself.
	Machine(now time.Time) loadmon.HostLoad
}

// Sampler turns what a node's kernel counts into loadmon.Reports. One goroutine uses it.
type Sampler struct {
	node       string
	host       Host
	processors int

	start     time.Time // with a monotonic reading: rates must not follow jumps of the clock
	at        time.Time
	opened    map[cluster.Listener]uint64
	instances map[[2]string]sampled
}

// sampled is what is kept of an instance between two samples.
type sampled struct {
	connections       uint64
	bytesIn, bytesOut uint64
	cpu               time.Duration
	pid               int
	usage             Usage
}

// NewSampler begins with nothing: its first sample has no instance, since what they did is the difference of two.
func NewSampler(node string, host Host, processors int) *Sampler {
	return &Sampler{node: node, host: host, processors: processors, instances: map[[2]string]sampled{}}
}

// Sample takes the figures of this node's instances. An instance of which no process is found, or only since this sample,
// is left out: without figures it keeps its weight. The time must have a monotonic reading, as time.Now has.
func (s *Sampler) Sample(ctx context.Context, locals []loadmon.Local, now time.Time) (loadmon.Report, error) {
	if s.start.IsZero() {
		s.start = now
	}
	var listeners []cluster.Listener
	for _, l := range locals {
		listeners = append(listeners, l.Listeners...)
	}
	opened, err := s.host.Opened(ctx)
	if err != nil {
		return loadmon.Report{}, fmt.Errorf("count new connections: %w", err)
	}
	flows, err := s.host.Flows(ctx, listeners)
	if err != nil {
		return loadmon.Report{}, fmt.Errorf("count open connections: %w", err)
	}
	processes, err := s.host.Processes(listeners)
	if err != nil {
		return loadmon.Report{}, fmt.Errorf("find the instances' processes: %w", err)
	}
	elapsed := now.Sub(s.at)
	r := loadmon.Report{Node: s.node, At: now.Round(0).UTC(), UptimeS: now.Sub(s.start).Seconds(), Host: s.host.Machine(now)}
	next := make(map[[2]string]sampled, len(locals))
	for _, l := range locals {
		key := [2]string{l.Service, l.Instance}
		before := s.instances[key]
		after := before
		after.connections += s.opens(l, opened)
		var active uint64
		for _, listener := range l.Listeners {
			active += flows[listener].Active
			after.bytesIn += flows[listener].BytesIn
			after.bytesOut += flows[listener].BytesOut
		}
		known := after.use(s.host, process(l, processes))
		next[key] = after
		if known {
			r.Loads = append(r.Loads, s.load(l, before, after, active, elapsed))
		}
	}
	s.at, s.opened, s.instances = now, opened, next
	return r, nil
}

// use reads what an instance's process uses, and says whether it is the one of the last sample. CPU is counted on: what
// another process, or the same one in another group, has used before is not the instance's.
func (s *sampled) use(host Host, pid int) bool {
	before := *s
	s.pid, s.usage = pid, Usage{}
	if pid == 0 {
		return false
	}
	var err error
	if s.usage, err = host.Usage(pid); err != nil {
		s.pid = 0 // it ended meanwhile
		return false
	}
	if pid != before.pid {
		return false
	}
	if s.usage.Source == before.usage.Source {
		s.cpu += max(0, s.usage.CPU-before.usage.CPU)
	}
	return true
}

func (s *Sampler) load(l loadmon.Local, before, after sampled, active uint64, elapsed time.Duration) loadmon.Load {
	return loadmon.Load{
		Service: l.Service, Instance: l.Instance,
		Connections: after.connections, Active: active, BytesIn: after.bytesIn, BytesOut: after.bytesOut,
		Busy:     Busy(before.usage, after.usage, elapsed, s.processors),
		Pressure: Pressure(before.usage, after.usage, elapsed), QuotaCPUs: after.usage.Quota, CPUSeconds: after.cpu.Seconds(),
		MemoryBytes: after.usage.Memory, MemoryLimitBytes: after.usage.MemoryLimit,
		OpenFiles: after.usage.Files, OpenFilesLimit: after.usage.FilesLimit,
	}
}

// opens are the new connections since the last sample. A counter that is new may have counted for others before.
func (s *Sampler) opens(l loadmon.Local, opened map[cluster.Listener]uint64) (n uint64) {
	for _, listener := range l.Listeners {
		if before, known := s.opened[listener]; known {
			n += Since(before, opened[listener])
		}
	}
	return n
}

// process is the one that listens; of several, as where each port has its own, the one with the lowest id; 0: none.
func process(l loadmon.Local, found map[cluster.Listener]int) int {
	var pids []int
	for _, listener := range l.Listeners {
		if pid, ok := found[listener]; ok {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return 0
	}
	return slices.Min(pids)
}
