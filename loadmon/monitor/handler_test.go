package monitor

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	m := newMonitor(t, Config{})
	for _, c := range []struct {
		name, token, method, path string
		code                      int
	}{
		{"no token", "", "GET", "/v1/load", 401},
		{"no token, no such page", "", "GET", "/debug", 401},
		{"a wrong one", "x" + token[1:], "GET", "/v1/load", 401},
		{"a part of it", token[1:], "GET", "/v1/load", 401},
		{"more than it", token + "t", "POST", "/v1/look", 401},
		{"nothing measured yet", token, "GET", "/v1/load", 503},
		{"wrong method", token, "POST", "/v1/load", 405},
		{"wrong method", token, "GET", "/v1/look", 405},
		{"deleting", token, "DELETE", "/v1/look", 405},
		{"no such page", token, "GET", "/v1/", 404},
		{"no such page", token, "GET", "/v1/load/x", 404},
		{"reports are taken elsewhere", token, "POST", "/v1/report/a/x", 404},
	} {
		w := ask(t, m, c.token, c.method, c.path, "")
		require.Equal(t, c.code, w.Code, "%s: %s %s", c.name, c.method, c.path)
		require.NotContains(t, w.Body.String(), token)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		if c.code == 401 {
			require.Equal(t, "close", w.Header().Get("Connection"), "who may not ask holds no connection")
			require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
		}
	}
	r := ask(t, newMonitor(t, Config{Store: &store{}}), "", "GET", "/v1/load", "")
	require.Equal(t, 401, r.Code)
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	m := newMonitor(t, Config{})
	for range maxRequests {
		m.slots <- struct{}{}
	}
	w := ask(t, m, token, "GET", "/v1/load", "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "too many requests at once")
	<-m.slots
	require.Contains(t, ask(t, m, token, "GET", "/v1/load", "").Body.String(), "nothing has been measured yet")
	require.Len(t, m.slots, maxRequests-1, "the slot is free again")
}

// Without a token nobody gets in, also not with an empty one.
func TestWithoutSecret(t *testing.T) {
	t.Parallel()
	for _, s := range []*store{{}, {err: errors.New("etcd is away")}} {
		m := newMonitor(t, Config{Store: s})
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + token} {
			r, err := http.NewRequest("GET", "/v1/load", nil)
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
		m := newMonitor(t, Config{Store: s})
		asks := func(token string) int { return ask(t, m, token, "GET", "/v1/load", "").Code }
		require.Equal(t, 503, asks(token))
		require.Equal(t, 1, s.questions())
		for range 100 {
			require.Equal(t, 503, asks(token))
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
		require.Equal(t, 503, asks(next))
		require.Equal(t, 401, asks(token), "the old one is worth nothing")

		s.set(next, errors.New("etcd is away"))
		time.Sleep(time.Hour)
		require.Equal(t, 503, asks(next), "it is remembered")
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
	m := newMonitor(t, Config{Store: &store{token: token}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ask(t, m, token, "GET", "/v1/load", "")
	ask(t, m, token+"x", "GET", "/v1/load", "")
	m.c.Store.(*store).set("", errors.New("etcd is away"))
	m.gate.ask(t.Context())
	require.Contains(t, log.String(), "etcd is away")
	require.NotContains(t, log.String(), token)
}
