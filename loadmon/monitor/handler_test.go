package monitor

import (
	"testing"

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
