package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/check"
)

// checker finds what a test says.
type checker struct {
	mu      sync.Mutex
	wanted  []*cluster.Snapshot
	health  cluster.NodeHealth
	results map[check.ID]check.Result
	changed chan struct{}
	judged  int
}

func (c *checker) Want(s *cluster.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = append(c.wanted, s)
}

func (c *checker) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (c *checker) Health() cluster.NodeHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health
}

func (c *checker) Judge(context.Context) { c.mu.Lock(); defer c.mu.Unlock(); c.judged++ }

func (c *checker) Changed() <-chan struct{} { return c.changed }

func (c *checker) Results() map[check.ID]check.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.results
}

func (c *checker) find(reason string) cluster.NodeHealth {
	h := cluster.NodeHealth{"a": {"192.168.1.1:80": {Verdict: cluster.Failing, Reason: reason}}}
	if reason == "" {
		h = nil
	}
	c.mu.Lock()
	c.health = h
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return h
}

func (s *store) written() (cluster.NodeHealth, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health, append([]time.Time{}, s.writes...)
}

func TestVerdictsAreWrittenAtOnceAndOnceASecondOnAverage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &store{token: token}, &checker{changed: make(chan struct{}, 1)}
		m := newMonitor(t, Config{Store: s, Checker: c})
		defer run(t, m.Run)()
		c.find("early")
		time.Sleep(time.Minute)
		synctest.Wait()
		_, writes := s.written()
		require.Empty(t, writes, "what was said before is not known yet")

		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		synctest.Wait()
		health, writes := s.written()
		require.Equal(t, c.Health(), health)
		require.Len(t, writes, 1)
		require.NotEmpty(t, c.wanted)

		time.Sleep(10 * time.Second)
		_, before := s.written()
		begin := time.Now()
		for i := range 50 { // ten seconds of flapping
			c.find(fmt.Sprint(i))
			time.Sleep(200 * time.Millisecond)
		}
		last := c.find("")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		health, writes = s.written()
		require.Equal(t, last, health, "the newest, at last")
		require.Equal(t, begin.Add(verdictsTogether), writes[len(before)], "at once, with what changes together")
		require.InDelta(t, 11+verdictBurst-1, len(writes)-len(before), 1)
		for i := 1; i < len(writes); i++ {
			require.GreaterOrEqual(t, writes[i].Sub(writes[i-1]), verdictPause/verdictBurst)
		}
	})
}

// Etcd may have been wiped: what is said there is looked at now and then, which costs no write where it is the same.
func TestVerdictsAreReviewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &store{token: token}, &checker{changed: make(chan struct{}, 1)}
		m := newMonitor(t, Config{Store: s, Checker: c})
		defer run(t, m.Run)()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		want := c.find("it fails")
		time.Sleep(time.Second)
		synctest.Wait()
		s.mu.Lock()
		s.health = nil
		s.mu.Unlock()
		time.Sleep(verdictReview)
		synctest.Wait()
		health, _ := s.written()
		require.Equal(t, want, health)
	})
}

func TestVerdictsAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &store{token: token}, &checker{changed: make(chan struct{}, 1)}
		m := newMonitor(t, Config{Store: s, Checker: c})
		defer run(t, m.Run)()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		time.Sleep(time.Minute)
		s.set(token, errors.New("etcd is away"))
		c.find("it fails")
		time.Sleep(30 * time.Second)
		want := c.find("it fails worse")
		time.Sleep(30 * time.Second)
		_, before := s.written()
		s.set(token, nil)
		back := time.Now()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		health, writes := s.written()
		require.Equal(t, want, health)
		require.Len(t, writes, len(before)+1)
		require.LessOrEqual(t, writes[len(before)].Sub(back), verdictRetry)
	})
}

// Snapshots that come faster than they are looked at do not hold up whoever delivers them.
func TestTheNewestSnapshotCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &checker{}
		m := newMonitor(t, Config{Checker: c})
		defer run(t, m.Run)()
		var last *cluster.Snapshot
		for range 1000 {
			last = published(t, n1)
			m.Deliver(last)
		}
		synctest.Wait()
		require.Same(t, last, c.wanted[len(c.wanted)-1])
	})
}

func TestJudgeTellsBeforeItReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &store{token: token}, &checker{changed: make(chan struct{}, 1)}
		m := newMonitor(t, Config{Store: s, Checker: c})
		defer run(t, m.Run)()
		early, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, m.Judge(early), context.DeadlineExceeded, "without a snapshot nothing can be said")
		require.Zero(t, c.judged)

		m.Deliver(&cluster.Snapshot{})
		want := c.find("it is gone")
		require.NoError(t, m.Judge(t.Context()))
		got, _ := s.written()
		require.Equal(t, want, got)
		require.Equal(t, 1, c.judged)

		s.mu.Lock()
		s.err = errors.New("etcd is away")
		s.mu.Unlock()
		c.find("another")
		require.ErrorContains(t, m.Judge(t.Context()), "etcd is away")
	})
}
