package door

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Those who come while the token is read for the first of them wait for the same answer: etcd is asked once, also when the
// first one goes away meanwhile.
func TestManyAtOnceWithATokenThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		right := strings.Repeat("r", 40)
		var asked atomic.Int32
		g := &gate{log: slog.New(slog.DiscardHandler), secret: func(ctx context.Context) (string, error) {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			return right, ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var admitted atomic.Int32
		var all sync.WaitGroup
		come := func(ctx context.Context, token string) {
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/load", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			all.Go(func() {
				if g.admits(r) {
					admitted.Add(1)
				}
			})
			synctest.Wait()
		}
		come(ctx, right)
		cancel()
		for range 8 {
			come(t.Context(), right)
		}
		come(t.Context(), "wrong")
		all.Wait()
		require.EqualValues(t, 9, admitted.Load())
		require.EqualValues(t, 1, asked.Load())
	})
}

// store is an etcd of which a test decides what it says.
type store struct {
	mu    sync.Mutex
	token string
	asked int
	err   error
}

func (s *store) Secret(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.token, s.err
}

func (s *store) set(token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.err = token, err
}

func (s *store) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func newGuard(s *store, log slog.Handler) *Guard { return NewGuard(s.Secret, 16, slog.New(log)) }

// ask asks behind a guard for its greeting.
func ask(g *Guard, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	g.Before(http.HandlerFunc(greet)).ServeHTTP(w, r)
	return w
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	m := newGuard(&store{token: token}, slog.DiscardHandler)
	for range 16 {
		m.slots <- struct{}{}
	}
	w := ask(m, token)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "too many requests at once")
	<-m.slots
	require.Contains(t, ask(m, token).Body.String(), "hello")
	require.Len(t, m.slots, 15, "the slot is free again")
}

// Without a token nobody gets in, also not with an empty one.
func TestWithoutSecret(t *testing.T) {
	t.Parallel()
	for _, s := range []*store{{}, {err: errors.New("etcd is away")}} {
		m := newGuard(s, slog.DiscardHandler)
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + token} {
			r, err := http.NewRequest("GET", "/", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", header)
			require.False(t, m.gate.admits(r), header)
		}
	}
}

func TestANewTokenIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{token: token}
		m := newGuard(s, slog.DiscardHandler)
		asks := func(token string) int { return ask(m, token).Code }
		require.Equal(t, 200, asks(token))
		require.Equal(t, 1, s.questions())
		for range 100 {
			require.Equal(t, 200, asks(token))
			require.Equal(t, 401, asks("wrong"))
		}
		require.Equal(t, 1, s.questions(), "etcd is asked at most once a second")
		time.Sleep(time.Second)
		for range 100 {
			require.Equal(t, 401, asks("wrong"))
		}
		require.Equal(t, 2, s.questions())

		next := strings.Repeat("n", 40)
		s.set(next, nil)
		time.Sleep(time.Second)
		require.Equal(t, 200, asks(next))
		require.Equal(t, 401, asks(token), "the old one is worth nothing")

		s.set(next, errors.New("etcd is away"))
		time.Sleep(time.Hour)
		require.Equal(t, 200, asks(next), "it is remembered")
		require.Equal(t, 401, asks(token))

		s.set(strings.Repeat("o", 40), nil)
		time.Sleep(gateTrust)
		require.Equal(t, 401, asks(next), "replaced, and nobody came with the new one")
	})
}

// The token is in no log.
func TestTokenIsNotLogged(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := &store{token: token}
	m := newGuard(s, slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ask(m, token)
	ask(m, token+"x")
	s.set("", errors.New("etcd is away"))
	m.gate.ask(t.Context())
	require.Contains(t, log.String(), "etcd is away")
	require.NotContains(t, log.String(), token)
}
