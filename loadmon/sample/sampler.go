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
	// Open are the connections that are open now.
	Open(ctx context.Context, listeners []cluster.Listener) (map[cluster.Listener]uint64, error)
	// Processes are those that listen.
	Processes(listeners []cluster.Listener) (map[cluster.Listener]int, error)
	// Usage is what a process has used.
	Usage(pid int) (Usage, error)
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
	connections uint64
	pid         int
	usage       Usage
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
	active, err := s.host.Open(ctx, listeners)
	if err != nil {
		return loadmon.Report{}, fmt.Errorf("count open connections: %w", err)
	}
	processes, err := s.host.Processes(listeners)
	if err != nil {
		return loadmon.Report{}, fmt.Errorf("find the instances' processes: %w", err)
	}
	elapsed := now.Sub(s.at)
	r := loadmon.Report{Node: s.node, At: now.Round(0).UTC(), UptimeS: now.Sub(s.start).Seconds()}
	next := make(map[[2]string]sampled, len(locals))
	for _, l := range locals {
		key := [2]string{l.Service, l.Instance}
		before := s.instances[key]
		after := sampled{connections: before.connections + s.since(l, opened), pid: process(l, processes)}
		if after.pid != 0 {
			if after.usage, err = s.host.Usage(after.pid); err != nil {
				after.pid = 0 // it ended meanwhile
			}
		}
		next[key] = after
		if after.pid == 0 || after.pid != before.pid {
			continue
		}
		load := loadmon.Load{Service: l.Service, Instance: l.Instance, Connections: after.connections, Busy: Busy(before.usage, after.usage, elapsed, s.processors)}
		for _, listener := range l.Listeners {
			load.Active += active[listener]
		}
		r.Loads = append(r.Loads, load)
	}
	s.at, s.opened, s.instances = now, opened, next
	return r, nil
}

// since are the new connections since the last sample. A counter that fell began anew, and one that is new may have counted
// for others before.
func (s *Sampler) since(l loadmon.Local, opened map[cluster.Listener]uint64) (n uint64) {
	for _, listener := range l.Listeners {
		before, known := s.opened[listener]
		switch now := opened[listener]; {
		case !known:
		case now >= before:
			n += now - before
		default:
			n += now
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
