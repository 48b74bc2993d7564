package sample

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/internal/conntrack"
	"github.com/weir-lb/weir/internal/runner"
)

// refusals counts the connections that were refused, by who refused them.
type refusals struct {
	mu     sync.Mutex
	counts map[netip.AddrPort]uint64
}

// maxRefusing bounds how many addresses are remembered between two samples: other hosts refuse, too.
const maxRefusing = 1 << 14

func (r *refusals) add(e conntrack.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[netip.AddrPort]uint64{}
	}
	if _, known := r.counts[e.Answers]; known || len(r.counts) < maxRefusing {
		r.counts[e.Answers]++
	}
}

// take gives what was counted since the last time.
func (r *refusals) take() map[netip.AddrPort]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.counts
	r.counts = nil
	return counts
}

// hearAgain is between two tries to hear of refused connections.
const hearAgain = 30 * time.Second

// Hear takes up which connections are refused, until the context ends; then it returns nil. It tells of an error, and tries again.
func (k *Kernel) Hear(ctx context.Context, failed func(error)) error {
	for {
		err := conntrack.WatchRefused(ctx, conntrack.Events{}, k.refusals.add)
		if ctx.Err() != nil {
			return nil
		}
		failed(err)
		if !runner.Sleep(ctx, hearAgain) {
			return nil
		}
	}
}
