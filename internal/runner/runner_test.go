package runner

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var errFake = errors.New("fake")

// work is a function to run: it takes took, fails while fail is set, and notes when it was started.
type work struct {
	mu     sync.Mutex
	began  time.Time
	took   time.Duration
	fail   bool
	starts []time.Duration
}

func (w *work) run(context.Context) error {
	w.mu.Lock()
	w.starts = append(w.starts, time.Since(w.began))
	took, fail := w.took, w.fail
	w.mu.Unlock()
	time.Sleep(took)
	if fail {
		return errFake
	}
	return nil
}

// started returns the start times in milliseconds since the beginning.
func (w *work) started() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ms []int64
	for _, d := range w.starts {
		ms = append(ms, d.Milliseconds())
	}
	return ms
}

// inBubble runs play beside a runner in fake time, and checks that Run returns nil at the end.
func inBubble(t *testing.T, o Options, w *work, play func(r *Runner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.began = time.Now()
		r := New(w.run, o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		play(r)
		cancel()
		require.NoError(t, <-ended)
	})
}

// after lets fake time pass, to the point where nothing is left to do at that instant.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const ms = time.Millisecond

func TestRunsAtOnceWhenIdle(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: 100 * ms}, w, func(r *Runner) {
		after(50 * ms)
		require.Empty(t, w.started(), "not without a kick")
		r.Kick()
		after(500 * ms)
		r.Kick()
		after(500 * ms)
	})
	require.Equal(t, []int64{50, 550}, w.started())
}

func TestKickBeforeRunIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &work{began: time.Now()}
		r := New(w.run, Options{})
		r.Kick()
		r.Kick()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, r.Run(ctx))
		require.Equal(t, []int64{0}, w.started())
	})
}

func TestKicksDuringARunBecomeOneMore(t *testing.T) {
	w := &work{took: 100 * ms}
	inBubble(t, Options{}, w, func(r *Runner) {
		r.Kick()
		for range 9 {
			after(10 * ms)
			r.Kick()
		}
		after(time.Second)
	})
	require.Equal(t, []int64{0, 100}, w.started())
}

func TestMinHoldsBack(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: 100 * ms}, w, func(r *Runner) {
		for range 30 { // kicks at 0, 10, ... 290
			r.Kick()
			after(10 * ms)
		}
		after(time.Second)
	})
	require.Equal(t, []int64{0, 100, 200, 300}, w.started())
}

func TestKicksHeldBackByMinAreOneRun(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: 100 * ms}, w, func(r *Runner) {
		r.Kick()
		after(10 * ms)
		r.Kick() // wakes the runner, which holds back until 100
		after(10 * ms)
		r.Kick() // is in time for that same run
		after(time.Second)
	})
	require.Equal(t, []int64{0, 100}, w.started())
}

func TestBurst(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: 100 * ms, Burst: 4}, w, func(r *Runner) {
		for range 60 { // kicks at 0, 10, ... 590
			r.Kick()
			after(10 * ms)
		}
		after(time.Second) // a rest
		for range 3 {
			r.Kick()
			after(10 * ms)
		}
		after(time.Second)
	})
	require.Equal(t, []int64{0, 10, 20, 30, 100, 200, 300, 400, 500, 600, 1600, 1610, 1620}, w.started())
}

func TestMinCountsFromTheStart(t *testing.T) {
	w := &work{took: 150 * ms}
	inBubble(t, Options{Min: 100 * ms}, w, func(r *Runner) {
		r.Kick()
		after(10 * ms)
		r.Kick()
		after(time.Second)
	})
	require.Equal(t, []int64{0, 150}, w.started())
}

func TestMaxRunsWithoutKicks(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Max: 200 * ms}, w, func(r *Runner) {
		after(250 * ms)
		r.Kick()
		after(350 * ms) // until 600
	})
	require.Equal(t, []int64{200, 250, 450}, w.started())
}

func TestMaxIsNotBelowMin(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: 300 * ms, Max: 100 * ms}, w, func(*Runner) { after(700 * ms) })
	require.Equal(t, []int64{300, 600}, w.started())
}

func TestFailuresBackOff(t *testing.T) {
	w := &work{fail: true}
	var told []time.Duration
	o := Options{RetryMin: 100 * ms, RetryMax: 500 * ms, Failed: func(err error, retry time.Duration) {
		require.ErrorIs(t, err, errFake)
		told = append(told, retry)
	}}
	inBubble(t, o, w, func(r *Runner) {
		r.Kick()
		after(1800 * ms)
	})
	require.Equal(t, []int64{0, 100, 300, 700, 1200, 1700}, w.started())
	require.Equal(t, []time.Duration{100 * ms, 200 * ms, 400 * ms, 500 * ms, 500 * ms, 500 * ms}, told)
}

func TestRetryCountsFromTheEnd(t *testing.T) {
	w := &work{fail: true, took: 250 * ms}
	inBubble(t, Options{}, w, func(r *Runner) {
		r.Kick()
		after(500 * ms)
	})
	require.Equal(t, []int64{0, 350}, w.started(), "with the default of 100ms")
}

func TestSuccessEndsTheBackoff(t *testing.T) {
	w := &work{fail: true}
	inBubble(t, Options{RetryMin: 100 * ms}, w, func(r *Runner) {
		r.Kick()
		after(350 * ms) // failed at 0, 100, 300; next at 700
		w.mu.Lock()
		w.fail = false
		w.mu.Unlock()
		after(850 * ms) // fine at 700, nothing more
		w.mu.Lock()
		w.fail = true
		w.mu.Unlock()
		r.Kick() // at 1200
		after(150 * ms)
	})
	require.Equal(t, []int64{0, 100, 300, 700, 1200, 1300}, w.started())
}

func TestKickCutsTheBackoffShort(t *testing.T) {
	w := &work{fail: true}
	inBubble(t, Options{RetryMin: 100 * ms}, w, func(r *Runner) {
		r.Kick()
		after(310 * ms) // failed at 0, 100, 300; next at 700
		r.Kick()        // waits until 400
		after(100 * ms)
	})
	require.Equal(t, []int64{0, 100, 300, 400}, w.started())
}

func TestMaxHoldsDuringBackoff(t *testing.T) {
	w := &work{fail: true}
	inBubble(t, Options{Max: 250 * ms, RetryMin: 100 * ms}, w, func(r *Runner) {
		r.Kick()
		after(900 * ms)
	})
	require.Equal(t, []int64{0, 100, 300, 550, 800}, w.started())
}

func TestRetryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(Options{}.withDefaults(), time.Now())
		for range 100 {
			p.ran(time.Now(), time.Now(), true)
		}
		require.Equal(t, 30*time.Second, time.Until(p.due))
	})
}

func TestCancelDuringARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		entered := make(chan struct{})
		r := New(func(ctx context.Context) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}, Options{Failed: func(err error, _ time.Duration) { t.Errorf("told of %v, which is no failure", err) }})
		r.Kick()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-entered
		r.Kick()
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestCancelWhileHeldBack(t *testing.T) {
	w := &work{}
	inBubble(t, Options{Min: time.Hour}, w, func(r *Runner) {
		r.Kick()
		after(ms)
		r.Kick()
		after(ms)
	}) // inBubble cancels, and Run returns at once
	require.Equal(t, []int64{0}, w.started())
}

func TestOneRunAtATime(t *testing.T) {
	w := &work{}
	inBubble(t, Options{}, w, func(r *Runner) {
		require.ErrorContains(t, r.Run(t.Context()), "already running")
	})
}

func TestRunAgainAfterItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &work{began: time.Now()}
		r := New(w.run, Options{})
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r.Kick()
			require.NoError(t, r.Run(ctx))
			cancel()
		}
		require.Equal(t, []int64{0, 1000}, w.started())
	})
}

// What was stored before a kick is seen by a run: no kick is lost between the end of a run and the next wait.
func TestNoKickIsLost(t *testing.T) {
	var wanted, seen int
	var mu sync.Mutex
	caughtUp := make(chan struct{})
	done := sync.OnceFunc(func() { close(caughtUp) }) // a last kick may run once more
	r := New(func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if seen = wanted; seen == 10_000 {
			done()
		}
		return nil
	}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for range 10_000 {
		mu.Lock()
		wanted++
		mu.Unlock()
		r.Kick()
	}
	<-caughtUp
	cancel()
	require.NoError(t, <-ended)
}
