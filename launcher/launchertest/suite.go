// Package launchertest is the suite that every launcher.Driver passes.
package launchertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/launcher"
)

// Bench is a driver under test.
type Bench struct {
	// Open opens a driver over the bench's state: after a Close, the next one is the driver after a restart.
	Open func(t testing.TB) (launcher.Driver, func())

	// Spec is of an instance that will do well, another one for each number.
	Spec func(t testing.TB, number int) launcher.Spec

	// Remembers says whether the next driver knows the instances of the one before without being told.
	Remembers bool

	// Programs says that instances are programs of this host: then all that a program may do wrong is tried as well.
	Programs bool
}

// TestDriver runs the suite, each part on a bench of its own.
func TestDriver(t *testing.T, make func(testing.TB) Bench) {
	parts := []struct {
		name string
		run  func(*testing.T, *stage)
	}{
		{"ensure again", ensureAgain},
		{"at the same time", sameTime},
		{"another of the same id", duplicate},
		{"bad specifications", badSpecs},
		{"stop again", stopAgain},
		{"a hundred at once", hundred},
		{"restart of the launcher", restart},
		{"a context that has ended", canceled},
	}
	if make(t).Programs {
		parts = append(parts, programs...)
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			b := make(t)
			part.run(t, newStage(t, b))
		})
	}
}

// stage is a bench with its driver open.
type stage struct {
	*testing.T
	bench  Bench
	driver launcher.Driver
	close  func()
}

func newStage(t *testing.T, b Bench) *stage {
	s := &stage{T: t, bench: b}
	s.driver, s.close = b.Open(t)
	t.Cleanup(func() { s.close() })
	return s
}

// reopen is what a restart of the launcher does.
func (s *stage) reopen() {
	s.close()
	s.driver, s.close = s.bench.Open(s)
}

func (s *stage) ensure(spec launcher.Spec) {
	s.Helper()
	require.NoError(s, s.driver.Ensure(s.Context(), spec))
}

func (s *stage) stop(id string, grace time.Duration) {
	s.Helper()
	require.NoError(s, s.driver.Stop(s.Context(), id, grace))
}

func (s *stage) list() []launcher.Status {
	s.Helper()
	list, err := s.driver.List(s.Context())
	require.NoError(s, err)
	return list
}

// status is that of one instance.
func (s *stage) status(id string) launcher.Status {
	s.Helper()
	list := s.list()
	i := slices.IndexFunc(list, func(status launcher.Status) bool { return status.ID == id })
	require.GreaterOrEqual(s, i, 0, "%s is not among %+v", id, list)
	return list[i]
}

// until waits for a status that fits.
func (s *stage) until(id string, fits func(launcher.Status) bool) launcher.Status {
	s.Helper()
	var last launcher.Status
	require.Eventually(s, func() bool {
		last = s.status(id)
		return fits(last)
	}, time.Minute, 5*time.Millisecond, "the last status of %s was %+v", id, &last)
	return last
}

func exited(s launcher.Status) bool { return s.State == launcher.Exited }

func (s *stage) running(id string) launcher.Status {
	s.Helper()
	return s.until(id, func(s launcher.Status) bool { return s.State == launcher.Running })
}

func ids(list []launcher.Status) (out []string) {
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

func ensureAgain(_ *testing.T, s *stage) {
	spec := s.bench.Spec(s, 1)
	s.ensure(spec)
	first := s.running(spec.ID)
	require.Equal(s, spec.Service, first.Service)
	for range 3 {
		s.ensure(spec)
	}
	again := s.status(spec.ID)
	require.Equal(s, []any{first.PID, first.Started, first.Starts, first.Host}, []any{again.PID, again.Started, again.Starts, again.Host})
	require.Equal(s, []string{spec.ID}, ids(s.list()))
}

func sameTime(t *testing.T, s *stage) {
	spec := s.bench.Spec(s, 1)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.driver.Ensure(t.Context(), spec); err != nil {
				t.Errorf("ensure: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(s, []string{spec.ID}, ids(s.list()))
	require.LessOrEqual(s, s.running(spec.ID).Starts, 1)
	for range 5 {
		wg.Go(func() {
			if err := s.driver.Stop(t.Context(), spec.ID, time.Second); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	wg.Wait()
	require.Empty(s, s.list())
}

func duplicate(_ *testing.T, s *stage) {
	spec := s.bench.Spec(s, 1)
	s.ensure(spec)
	before := s.running(spec.ID)
	other := spec
	other.Service += "-other"
	require.ErrorIs(s, s.driver.Ensure(s.Context(), other), launcher.ErrDiffers)
	after := s.status(spec.ID)
	require.Equal(s, []any{before.PID, before.State, before.Service}, []any{after.PID, after.State, after.Service})
	s.stop(spec.ID, time.Second)
	s.ensure(other)
	require.Equal(s, other.Service, s.status(spec.ID).Service)
}

func badSpecs(_ *testing.T, s *stage) {
	for _, id := range []string{"", "..", "a/b", "../a", "-a", ".hidden", "a\x00b", "a\nb", string(make([]byte, 100))} {
		spec := s.bench.Spec(s, 1)
		spec.ID = id
		err := s.driver.Ensure(s.Context(), spec)
		require.ErrorIs(s, err, launcher.ErrRefused, "%q", id)
		require.NotEmpty(s, launcher.Problems(err))
		require.ErrorIs(s, s.driver.Stop(s.Context(), id, 0), launcher.ErrRefused, "%q", id)
	}
	spec := s.bench.Spec(s, 1)
	spec.Env = map[string]string{"PORT": "1", "B=C": "x"}
	require.Len(s, launcher.Problems(s.driver.Ensure(s.Context(), spec)), 2)
	require.Empty(s, s.list())
}

func stopAgain(_ *testing.T, s *stage) {
	s.stop("never-there", 0)
	spec := s.bench.Spec(s, 1)
	s.ensure(spec)
	s.running(spec.ID)
	s.stop(spec.ID, time.Second)
	require.Empty(s, s.list())
	s.stop(spec.ID, time.Second)
	s.ensure(spec)
	s.running(spec.ID)
	require.Equal(s, []string{spec.ID}, ids(s.list()))
}

func hundred(t *testing.T, s *stage) {
	var wg sync.WaitGroup
	var want []string
	specs := make([]launcher.Spec, 100)
	for i := range specs {
		specs[i] = s.bench.Spec(s, i)
		want = append(want, specs[i].ID)
		wg.Go(func() {
			if err := s.driver.Ensure(t.Context(), specs[i]); err != nil {
				t.Errorf("ensure %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	slices.Sort(want)
	list := s.list()
	require.Equal(s, want, ids(list), "by id")
	seen := map[int]bool{}
	for _, i := range list {
		require.Equal(s, launcher.Running, i.State, "%+v", i)
		require.False(s, i.PID > 0 && seen[i.PID], "two instances are process %d", i.PID)
		seen[i.PID] = true
	}
	for _, spec := range specs {
		wg.Go(func() {
			if err := s.driver.Stop(t.Context(), spec.ID, time.Second); err != nil {
				t.Errorf("stop %s: %v", spec.ID, err)
			}
		})
	}
	wg.Wait()
	require.Empty(s, s.list())
}

func restart(_ *testing.T, s *stage) {
	specs := []launcher.Spec{s.bench.Spec(s, 1), s.bench.Spec(s, 2)}
	for _, spec := range specs {
		s.ensure(spec)
		s.running(spec.ID)
	}
	before := s.list()
	s.reopen()
	if !s.bench.Remembers {
		require.Empty(s, s.list())
		for _, spec := range specs {
			s.ensure(spec)
		}
	}
	after := s.list()
	for i := range after {
		require.Equal(s, []any{before[i].ID, before[i].PID, before[i].State, before[i].Starts, before[i].Host},
			[]any{after[i].ID, after[i].PID, after[i].State, after[i].Starts, after[i].Host})
	}
	for _, spec := range specs {
		s.ensure(spec)
		require.Equal(s, before[0].Starts, s.status(spec.ID).Starts, "nothing was started again")
		s.stop(spec.ID, time.Second)
	}
	require.Empty(s, s.list())
	s.reopen()
	require.Empty(s, s.list())
}

func canceled(t *testing.T, s *stage) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec := s.bench.Spec(s, 1)
	if err := s.driver.Ensure(ctx, spec); err != nil {
		require.Empty(s, s.list(), fmt.Sprintf("after %v", err))
	}
	s.ensure(spec)
	s.running(spec.ID)
	if s.driver.Stop(ctx, spec.ID, time.Second) != nil {
		s.stop(spec.ID, time.Second)
	}
	require.Empty(s, s.list())
}
