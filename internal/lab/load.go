package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Load says what connections to open.
type Load struct {
	Frontend    netip.AddrPort
	Network     string        // "tcp" (default) or "udp"
	Connections int           // Flood: how many in all; Probe: not used
	Workers     int           // how many at once, default 4; each has a thread of its own
	Timeout     time.Duration // of one connection, default 3s: past the first repeated SYN at 1s
	Pause       time.Duration // of each worker after each connection, default none
	Source      netip.Addr    // default: what the route says
}

func (l Load) withDefaults() (Load, error) {
	if l.Network == "" {
		l.Network = "tcp"
	}
	if l.Network != "tcp" && l.Network != "udp" {
		return l, fmt.Errorf("network %q: want tcp or udp", l.Network)
	}
	if !l.Frontend.IsValid() {
		return l, errors.New("a load needs a frontend")
	}
	if l.Workers <= 0 {
		l.Workers = 4
	}
	if l.Timeout <= 0 {
		l.Timeout = 3 * time.Second
	}
	return l, nil
}

// Flood opens load.Connections connections from a namespace and tells what became of them. When ctx ends early it
// returns what it has, and ctx's error; connections under way are then not counted.
func Flood(ctx context.Context, ns *Namespace, load Load) (Result, error) {
	load, err := load.withDefaults()
	if err != nil {
		return newResult(), err
	}
	var taken atomic.Int64
	more := func() bool { return taken.Add(1) <= int64(load.Connections) }
	result, err := work(ctx, ns, load, more)
	return result, errors.Join(err, ctx.Err())
}

// Probe keeps opening connections until stopped.
type Probe struct {
	ns     *Namespace
	cancel context.CancelFunc
	done   chan struct{}
	asked  atomic.Int64 // how many connections the workers began, or wanted to
	result Result
	err    error
}

// StartProbe starts load.Workers workers and returns once they have finished as many connections, so that what the
// caller does next is sure to be watched.
func StartProbe(ns *Namespace, load Load) (*Probe, error) {
	load, err := load.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Probe{ns: ns, cancel: cancel, done: make(chan struct{})}
	watching := make(chan struct{})
	go func() {
		defer close(p.done)
		p.result, p.err = work(ctx, ns, load, func() bool {
			// A worker asks before each connection: the first Workers questions have seen no connection yet.
			if p.asked.Add(1) == 2*int64(load.Workers) {
				close(watching)
			}
			return true
		})
	}()
	select {
	case <-watching:
	case <-p.done:
		return nil, errors.Join(errors.New("probe could not start"), p.err)
	}
	if err := ns.lab.track(p); err != nil {
		return nil, err
	}
	return p, nil
}

// Stop ends the probe and returns all it has counted; connections under way are not counted.
func (p *Probe) Stop() (Result, error) {
	p.cancel()
	<-p.done
	p.ns.lab.forget(p)
	return p.result, p.err
}

// Close is Stop for those who do not look at the result.
func (p *Probe) Close() error {
	_, err := p.Stop()
	return err
}

// work runs the workers until more says no or ctx ends.
func work(ctx context.Context, ns *Namespace, load Load, more func() bool) (Result, error) {
	results := make([]Result, load.Workers)
	errs := make([]error, load.Workers)
	var running sync.WaitGroup
	for w := range load.Workers {
		running.Go(func() {
			errs[w] = ns.Do(func() error {
				results[w] = load.worker(ctx, more)
				return nil
			})
		})
	}
	running.Wait()
	total := newResult()
	for _, r := range results {
		total.add(r)
	}
	return total, errors.Join(errs...)
}

func (l Load) worker(ctx context.Context, more func() bool) Result {
	result := newResult()
	for ctx.Err() == nil && more() {
		id, took, err := l.connect(ctx)
		switch {
		case err == nil:
			result.good(id, took)
		case ctx.Err() != nil:
			// Cut off by us: this says nothing about the network.
		default:
			result.failed(err)
		}
		l.pause(ctx)
	}
	return result
}

func (l Load) pause(ctx context.Context) {
	if l.Pause <= 0 {
		return
	}
	t := time.NewTimer(l.Pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
