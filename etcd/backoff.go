package etcd

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// backoff doubles the pause between attempts, up to a bound that keeps a node's CPU quiet and its return quick.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

// wait pauses; it returns early when the context ends.
func (b *backoff) wait(ctx context.Context) {
	b.pause = min(max(2*b.pause, shortestPause), longestPause)
	sleep(ctx, jitter(b.pause))
}

// jitter is d, give or take half of it.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d)+1))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func fraction() float64 { return rand.Float64() }
