package foreman_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/loadmon"
)

// late is a leader to whom one of the two ways can be shut, and who tells what became of its writes.
type late struct {
	*lab
	*etcd.Leadership
	mu       sync.Mutex
	snapshot *cluster.Snapshot // in the place of the newest; nil: that
	shut     bool              // for what is told of launchers and operators
	kept     *cluster.Operations
	fn       func(*cluster.Operations)
	wrote    chan error
}

func (l *late) Write(ctx context.Context, decisions ...cluster.Decision) (int64, error) {
	revision, err := l.Leadership.Write(ctx, decisions...)
	select {
	case l.wrote <- err:
	default: // nobody waits for it
	}
	return revision, err
}

func (l *late) WatchOperations(ctx context.Context, fn func(*cluster.Operations)) error {
	l.fn = fn
	return l.store.WatchOperations(ctx, func(ops *cluster.Operations) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.kept = ops; !l.shut {
			fn(ops)
		}
	})
}

// open lets through what was held back.
func (l *late) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot, l.shut = nil, false
	l.fn(l.kept)
}

// shutNet has the leader decide from the snapshot of now on.
func (l *late) shutNet() {
	now := l.show()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot = now
}

func (l *late) shutOps() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
}

func (l *late) show() *cluster.Snapshot {
	l.mu.Lock()
	held := l.snapshot
	l.mu.Unlock()
	if held != nil {
		return held
	}
	l.lab.mu.Lock()
	defer l.lab.mu.Unlock()
	return l.newest
}

// refused waits for the next write, which must not have been made.
func (l *late) refused() {
	l.t.Helper()
	for len(l.wrote) > 0 {
		<-l.wrote
	}
	require.ErrorIs(l.t, <-l.wrote, cluster.ErrStale)
}

// inOrder is a leader with two instances that serve, as an operator said.
func inOrder(t *testing.T) (*late, func() foreman.Report) {
	t.Helper()
	l := &late{lab: newLab(t), wrote: make(chan error, 1)}
	led := make(chan *foreman.Foreman, 1)
	l.publish(func(*cluster.Service) {})
	l.seen(l.scale(cluster.Scaled{Replicas: 2, Pinned: true}))
	l.during(func(ctx context.Context) error {
		return l.store.Lead(ctx, etcd.Candidate{Name: "cc1"}, func(ctx context.Context, leadership *etcd.Leadership) error {
			l.Leadership = leadership
			f := foreman.New(foreman.Config{Name: "cc1", Store: l, Writer: l, Snapshot: l.show, Interval: soon,
				Measured: func() map[string]map[string]loadmon.Measured { return nil },
			})
			select {
			case led <- f:
			default:
				return errors.New("the first leadership was lost")
			}
			return f.Run(ctx)
		})
	})
	f := <-led
	l.until("two", are(2))
	return l, f.Report
}

func (l *late) paused(paused bool) int64 {
	l.t.Helper()
	return l.commit(cluster.SetPaused{Paused: paused})
}

// A number that is said after a pause counts when the pause is over, also where the leader hears of it first.
func TestANumberThatComesBeforeThePause(t *testing.T) {
	t.Parallel()
	l, report := inOrder(t)
	l.shutNet()
	l.paused(true)
	number := l.scale(cluster.Scaled{Replicas: 3, Pinned: true})
	l.refused()
	require.Equal(t, 2, l.wanted()[cluster.WantServing])
	l.open()
	require.Eventually(t, func() bool { return report().Paused && report().Revision >= number }, soon, time.Millisecond)
	require.Equal(t, 2, l.wanted()[cluster.WantServing], "paused")
	l.paused(false)
	l.until("resumed", are(3))
}

// A number that is said before a pause is over counts from its end on, and not the one before, also where the leader hears of the
// end first.
func TestAPauseThatIsOverBeforeTheNumberComes(t *testing.T) {
	t.Parallel()
	l, report := inOrder(t)
	l.paused(true)
	number := l.scale(cluster.Scaled{Replicas: 3, Pinned: true})
	require.Eventually(t, func() bool { return report().Paused && report().Revision >= number }, soon, time.Millisecond)
	l.shutOps()
	l.scale(cluster.Scaled{Replicas: 2, Pinned: true})
	l.paused(false)
	l.refused()
	require.Equal(t, 2, l.wanted()[cluster.WantServing])
	l.open()
	require.Eventually(t, func() bool { r := report(); return !r.Paused && len(r.Services) == 1 && r.Services[0].Want == 2 }, soon, time.Millisecond)
	require.Equal(t, 2, l.wanted()[cluster.WantServing])
}
