package keep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher"
)

// slow is a driver whose starts take as long as a test says.
type slow struct {
	*driver
	takes time.Duration
	err   error // that a start ends with

	mu        sync.Mutex
	now, most int
	began     map[string][]time.Time
}

func (d *slow) Ensure(ctx context.Context, spec launcher.Spec) error {
	d.mu.Lock()
	d.now++
	d.most = max(d.most, d.now)
	d.began[spec.ID] = append(d.began[spec.ID], time.Now())
	takes, err := d.takes, d.err
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.now--
	}()
	if !runner.Sleep(ctx, takes) {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return d.driver.Ensure(ctx, spec)
}

func (d *slow) counted() (most, tried int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, began := range d.began {
		tried += len(began)
	}
	return d.most, tried
}

// attempts are when starts began, by instance.
func (d *slow) attempts() map[string][]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.began)
}

func crowd(n int, w cluster.Wanted) wanted {
	all := wanted{}
	for i := range n {
		all[fmt.Sprintf("a-%d", i)] = assigned(uint16(20000+i), w)
	}
	return all
}

// TestAStormOfStarts has a node get a hundred instances at once, as after the loss of another: a few start at a time, and in
// the end all run, each started once.
func TestAStormOfStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slow{driver: newDriver(), takes: time.Second, began: map[string][]time.Time{}}
		n := newNode(t, d.driver, d)
		defer n.end()
		n.assign(crowd(100, cluster.WantServing))
		n.after(30 * time.Second)
		most, tried := d.counted()
		require.Equal(t, 8, most)
		require.Equal(t, 100, tried)
		require.Equal(t, 100, n.registered())
	})
}

// TestStartsThatHang end when their driver gives them up, and are tried less and less often; who waits for a place is not
// started when it is not wanted any more, and in the end all run.
func TestStartsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slow{driver: newDriver(), takes: 10 * time.Second, err: errors.New("it did not start within 10s"), began: map[string][]time.Time{}}
		n := newNode(t, d.driver, d)
		defer n.end()
		n.assign(crowd(20, cluster.WantServing))
		n.after(5 * time.Minute)
		most, tried := d.counted()
		require.Equal(t, 8, most)
		require.LessOrEqual(t, tried, 8*5*6, "eight at a time, ten seconds each")
		for id, began := range d.attempts() {
			for i := 2; i < len(began); i++ {
				require.GreaterOrEqual(t, began[i].Sub(began[i-1]), 11*time.Second, "%s: an attempt and a pause", id)
			}
			require.Equal(t, cluster.PhaseCrashed, n.phase(id))
			require.Contains(t, n.told(id).Problem.What, "did not start within 10s")
		}
		stopped := crowd(20, cluster.WantServing)
		for i := range 10 {
			stopped[fmt.Sprintf("a-%d", i)] = assigned(uint16(20000+i), cluster.WantStopped)
		}
		n.assign(stopped)
		n.after(11 * time.Second)
		for i := range 10 {
			require.Equal(t, cluster.PhaseStopped, n.phase(fmt.Sprintf("a-%d", i)))
		}
		_, before := d.counted()
		d.mu.Lock()
		d.takes, d.err = time.Second, nil
		d.mu.Unlock()
		n.after(6 * time.Minute)
		require.Equal(t, 10, n.registered())
		_, after := d.counted()
		require.LessOrEqual(t, after-before, 20, "only those that are wanted")
	})
}
