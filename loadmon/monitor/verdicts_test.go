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
			require.GreaterOrEqual(t, writes[i].Sub(writes[i-1]), verdictsTogether)
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

// What began to fail while etcd was away is told as suspicion first: other nodes have the same to tell, and nobody is to be
// out because his monitor came first. What etcd knew already stays as it was.
func TestSuspicionsComeFirstAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := &store{token: token}, &checker{changed: make(chan struct{}, 1)}
		m := newMonitor(t, Config{Store: s, Checker: c})
		defer run(t, m.Run)()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80", "192.168.1.2:80"}))
		began := time.Now()
		failing := cluster.Health{Verdict: cluster.Failing, Reason: "no answer", Since: began.Add(4 * time.Second), Began: began}
		say := func(h cluster.NodeHealth) {
			c.mu.Lock()
			c.health = h
			c.mu.Unlock()
			c.changed <- struct{}{}
		}
		say(cluster.NodeHealth{"a": {"x": failing}})
		time.Sleep(time.Minute)
		health, _ := s.written()
		require.Equal(t, cluster.NodeHealth{"a": {"x": failing}}, health, "without an outage it is told at once")

		s.set(token, errors.New("etcd is away"))
		now := cluster.NodeHealth{"a": {"x": failing, "y": failing, "z": {Verdict: cluster.Failing, Reason: "it says so itself", Since: began}, "w": {Verdict: cluster.Dead}}}
		say(now)
		time.Sleep(30 * time.Second)
		s.set(token, nil)
		time.Sleep(verdictRetry)
		synctest.Wait()
		first := cluster.NodeHealth{"a": {"x": failing, "y": {Verdict: cluster.Suspect, Reason: "no answer", Since: began}, "z": now["a"]["z"], "w": now["a"]["w"]}}
		health, writes := s.written()
		require.Equal(t, first, health)
		time.Sleep(outageQuiet)
		synctest.Wait()
		health, after := s.written()
		require.Equal(t, now, health)
		require.Len(t, after, len(writes)+1)
	})
}

// A write that etcd took late was an outage too; one that it took at once was none.
func TestOutage(t *testing.T) {
	t.Parallel()
	var o outage
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	said := cluster.NodeHealth{"a": {"x": {Verdict: cluster.Failing, Since: noon, Began: noon}}}
	verdict := func(at time.Duration) cluster.Verdict {
		out, less := o.soften(said, noon.Add(at))
		require.Equal(t, less, out["a"]["x"].Verdict == cluster.Suspect)
		return out["a"]["x"].Verdict
	}
	require.Equal(t, cluster.Failing, verdict(0))
	o.wrote(nil, nil, outageFrom, noon)
	require.Equal(t, cluster.Failing, verdict(0))
	o.wrote(nil, nil, outageFrom+1, noon)
	require.Equal(t, cluster.Suspect, verdict(outageQuiet-1))
	require.Equal(t, cluster.Failing, verdict(outageQuiet))
	o.wrote(said, errors.New("away"), 0, noon)
	require.Equal(t, cluster.Suspect, verdict(time.Hour), "for as long as it lasts")
	o.wrote(said, nil, 0, noon)
	require.Equal(t, cluster.Failing, verdict(0), "it is known by now")
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
