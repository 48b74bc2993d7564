package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// complainer keeps what it is told, as etcd would.
type complainer struct {
	mu    sync.Mutex
	err   error
	says  cluster.Loadmon
	told  []time.Time // each time that it was asked to tell
	wrote []time.Time
	ended int
}

func (c *complainer) Tell(_ context.Context, l cluster.Loadmon) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, time.Now())
	if c.err != nil || l.Same(c.says) {
		return false, c.err
	}
	c.says, c.wrote = l, append(c.wrote, time.Now())
	return true, nil
}

func (c *complainer) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says, c.ended = cluster.Loadmon{}, c.ended+1
}

func (c *complainer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// now is what it says, and how often it was asked and had to write.
func (c *complainer) now() (says cluster.Loadmon, told, wrote int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.says, len(c.told), len(c.wrote)
}

// grumbler is a monitor with something to complain of.
type grumbler struct {
	mu       sync.Mutex
	problems []cluster.Problem
}

func (g *grumbler) complain(what ...string) cluster.Loadmon {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problems = nil
	for _, w := range what {
		g.problems = append(g.problems, cluster.Problem{Object: "service a", What: w})
	}
	return cluster.Complaining(g.problems)
}

func (g *grumbler) now() []cluster.Problem {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problems
}

// complaining runs a monitor in a bubble; pass lets time go by.
func complaining(t *testing.T, story func(c *complainer, g *grumbler, m *Monitor, stop func(), pass func(time.Duration))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, g := &complainer{}, &grumbler{}
		m := newMonitor(t, Config{Complainer: c, Problems: g.now, Metrics: NewMetrics(prometheus.NewRegistry())})
		stop := run(t, m.Run)
		defer stop()
		story(c, g, m, stop, func(d time.Duration) { time.Sleep(d); synctest.Wait() })
	})
}

func TestComplaintsAreToldWhenTheyChange(t *testing.T) {
	t.Parallel()
	complaining(t, func(c *complainer, g *grumbler, m *Monitor, stop func(), pass func(time.Duration)) {
		first := g.complain("one")
		pass(time.Minute)
		_, told, _ := c.now()
		require.Zero(t, told, "before the first snapshot it is not known what to complain of, and what was said before stays")
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		pass(0)
		says, told, wrote := c.now()
		require.Equal(t, []any{first, 1, 1}, []any{says, told, wrote}, "at once")
		require.InDelta(t, 1, testutil.ToFloat64(m.c.Metrics.complaints), 0)

		pass(complaintsReview - time.Millisecond)
		_, told, wrote = c.now()
		require.Equal(t, []int{1, 1}, []int{told, wrote}, "the same is not told again")
		pass(5 * time.Minute)
		_, told, wrote = c.now()
		require.Equal(t, 1, wrote)
		require.InDelta(t, 16, told, 2, "but often enough that it does not run out")

		begin := time.Now()
		for i := range 100 { // ten seconds of grumbling
			g.complain("one", fmt.Sprint(i))
			pass(100 * time.Millisecond)
		}
		last := g.complain("two", "three")
		pass(complaintsLook)
		says, _, wrote = c.now()
		require.Equal(t, last, says, "the newest, at last")
		require.InDelta(t, time.Since(begin)/complaintsLook, wrote-1, 1)
		for i := 1; i < len(c.wrote); i++ {
			require.GreaterOrEqual(t, c.wrote[i].Sub(c.wrote[i-1]), time.Second)
		}
		require.InDelta(t, wrote, testutil.ToFloat64(m.c.Metrics.complaintWrites), 0)
		require.InDelta(t, 2, testutil.ToFloat64(m.c.Metrics.complaints), 0)

		g.complain()
		pass(complaintsLook)
		says, told, _ = c.now()
		require.Empty(t, says.Problems, "taken back")
		pass(10 * time.Minute)
		_, later, _ := c.now()
		require.Equal(t, told, later, "where there is nothing to say nobody is asked")
		require.Zero(t, testutil.ToFloat64(m.c.Metrics.complaints))

		g.complain("four")
		pass(complaintsLook)
		says, _, _ = c.now()
		require.Len(t, says.Problems, 1)
		require.Zero(t, c.ended)
		stop()
		says, _, _ = c.now()
		require.Empty(t, says.Problems, "it does not outlive the process")
		require.Equal(t, 1, c.ended)
	})
}

// Of many the first are told, and how many there are.
func TestComplaintsOfManyInstances(t *testing.T) {
	t.Parallel()
	complaining(t, func(c *complainer, g *grumbler, m *Monitor, _ func(), pass func(time.Duration)) {
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf("%03d", i))
		}
		g.complain(many...)
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		pass(0)
		says, _, _ := c.now()
		require.Len(t, says.Problems, 20)
		require.Equal(t, 200, says.Count())
		require.InDelta(t, 200, testutil.ToFloat64(m.c.Metrics.complaints), 0)
	})
}

// What changes while etcd is away is told when it is back, as it is then, also where that is what was told before.
func TestComplaintsWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	complaining(t, func(c *complainer, g *grumbler, m *Monitor, _ func(), pass func(time.Duration)) {
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		pass(0)
		c.fail(errors.New("etcd is away"))
		g.complain("one")
		pass(time.Minute)
		g.complain("one", "two")
		pass(time.Minute)
		require.Positive(t, testutil.ToFloat64(m.c.Metrics.failures.WithLabelValues("complaints")))
		c.fail(nil)
		pass(complaintsRetry)
		says, _, wrote := c.now()
		require.Equal(t, g.complain("one", "two"), says)
		require.Equal(t, 1, wrote)

		// The answer was lost, and only that: etcd says what this one believes not to have said.
		g.complain()
		pass(complaintsLook)
		c.fail(errors.New("etcd is away"))
		last := g.complain("three")
		pass(complaintsLook)
		c.mu.Lock()
		c.says = last
		c.mu.Unlock()
		g.complain()
		c.fail(nil)
		pass(complaintsRetry)
		says, _, _ = c.now()
		require.Empty(t, says.Problems)
	})
}

// A role that was made by an older version lacks the key. That is said once, and the rest works on.
func TestComplaintsThatMayNotBeTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, g, s := &complainer{err: fmt.Errorf("tell: %w", cluster.ErrDenied)}, &grumbler{}, &sampler{}
		m := newMonitor(t, Config{Complainer: c, Problems: g.now, Sampler: s, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		stop := run(t, m.Run)
		defer stop()
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		for i := range 10 {
			g.complain(fmt.Sprint(i))
			time.Sleep(30 * time.Second)
		}
		c.fail(nil)
		time.Sleep(complaintsReview + complaintsLook)
		synctest.Wait()
		says, _, _ := c.now()
		require.Equal(t, g.complain("9"), says, "the role was made anew")
		require.NotEmpty(t, s.times())
		stop()
		require.Equal(t, 1, strings.Count(log.String(), "is told on its page /debug/problems only"))
		require.NotContains(t, log.String(), "level=ERROR")
	})
}

// In an agent nobody is told here: the agent tells.
func TestComplaintsOfAnAgentsMonitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		m := newMonitor(t, Config{Problems: func() []cluster.Problem { asked++; return nil }})
		stop := run(t, m.Run)
		m.Deliver(published(t, n1, []string{"192.168.1.1:80"}))
		time.Sleep(time.Minute)
		stop()
		require.Zero(t, asked)
	})
}
