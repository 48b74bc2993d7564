package words_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher/words"
)

// ears take note of what was said.
type ears struct {
	asks  map[string]cluster.Ask
	fails map[string]string
	err   error
}

func (e *ears) Ask(id string, a cluster.Ask) error {
	if e.err == nil {
		e.asks[id] = a
	}
	return e.err
}

func (e *ears) Fail(id, reason string) error {
	if e.err == nil {
		e.fails[id] = reason
	}
	return e.err
}

type place struct {
	*ears
	tokens   *words.Tokens
	registry *prometheus.Registry
	at       netip.AddrPort
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{ears: &ears{asks: map[string]cluster.Ask{}, fails: map[string]string{}}, registry: prometheus.NewPedanticRegistry()}
	var err error
	p.tokens, err = words.OpenTokens(filepath.Join(t.TempDir(), "tokens"))
	require.NoError(t, err)
	server := httptest.NewServer(words.Handler(p.tokens, p.ears, words.NewMetrics(p.registry)))
	t.Cleanup(server.Close)
	p.at = server.Listener.Addr().(*net.TCPAddr).AddrPort()
	return p
}

func (p *place) say(t *testing.T, id, token, word, body string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequest("POST", words.URL(p.at, id)+"/"+word, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(said)
}

// counted is how often something was said with a result.
func (p *place) counted(t *testing.T, word, result string) (n float64) {
	t.Helper()
	families, err := p.registry.Gather()
	require.NoError(t, err)
	for _, m := range families[0].Metric {
		if m.Label[1].GetValue() == word && m.Label[0].GetValue() == result {
			return m.Counter.GetValue()
		}
	}
	t.Fatalf("nothing counts %s %s", word, result)
	return 0
}

// Who has not the instance's own token is refused, counted, and changes nothing.
func TestOnlyTheInstanceItself(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	mine, others := p.tokens.Of("a-1"), p.tokens.Of("a-2")
	require.NotEqual(t, mine, others)
	require.Len(t, mine, 43)
	for _, word := range []string{"ask", "fail"} {
		body := map[string]string{"ask": `{"more": 1}`, "fail": `{}`}[word]
		code, text := p.say(t, "a-1", "", word, body)
		require.Equal(t, http.StatusUnauthorized, code)
		require.Contains(t, text, "give the instance's own token")
		for _, token := range []string{others, mine + "x", mine[1:], "x"} {
			code, text = p.say(t, "a-1", token, word, body)
			require.Equal(t, http.StatusForbidden, code)
			require.Equal(t, "this is not the token of instance a-1: each has its own, $WEIR_TOKEN in its environment\n", text)
		}
		require.EqualValues(t, 1, p.counted(t, word, "no_token"))
		require.EqualValues(t, 4, p.counted(t, word, "wrong_token"))
	}
	require.Empty(t, p.asks)
	require.Empty(t, p.fails)
	code, _ := p.say(t, "a-1", mine, "fail", `{"reason": "out\nof luck\u001b"}`)
	require.Equal(t, http.StatusNoContent, code)
	require.Equal(t, map[string]string{"a-1": `out of luck\x1b`}, p.fails)
	require.EqualValues(t, 1, p.counted(t, "fail", "taken"))
}

func TestAsk(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	token := p.tokens.Of("a-1")
	code, text := p.say(t, "a-1", token, "ask", `{"replicas": 5, "reason": "queue", "for": "10m"}`)
	require.Equal(t, http.StatusNoContent, code, text)
	a := p.asks["a-1"]
	require.WithinDuration(t, time.Now(), a.At, time.Minute)
	a.At = time.Time{}
	require.Equal(t, cluster.Ask{Replicas: 5, Reason: "queue", For: cluster.Duration(10 * time.Minute)}, a)
	for body, want := range map[string]string{
		"":                            "want {",
		"[]":                          "want {",
		`{"replicas": 5} {}`:          "and nothing after it",
		`{"replicas": 5}]`:            "and nothing after it",
		`{"replicas": 5, "by": "me"}`: "unknown field",
		`{}`:                          "give one of",
		`{"replicas": 5, "more": 1}`:  "give one of",
		`{"replicas": -1}`:            "is outside 1..",
		`{"more": 1000000}`:           "is outside 1..",
		`{"more": 1, "for": "2h"}`:    "counts for 1s..",
		`{"more": 1, "for": "soon"}`:  "want {",
	} {
		code, text := p.say(t, "a-1", token, "ask", body)
		require.Equal(t, http.StatusBadRequest, code, body)
		require.Contains(t, text, want, body)
	}
	code, _ = p.say(t, "a-1", token, "ask", `{"reason": "`+strings.Repeat("x", 20<<10)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, code)
	require.EqualValues(t, 12, p.counted(t, "ask", "wrong"))
	p.err = words.ErrUnknown
	code, text = p.say(t, "a-1", token, "ask", `{"more": 1}`)
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, text, "instance a-1: it is none of the instances that this node keeps")
	p.err = words.ErrSoon
	code, _ = p.say(t, "a-1", token, "ask", `{"more": 1}`)
	require.Equal(t, http.StatusTooManyRequests, code)
	p.err = fmt.Errorf("%w: give it a scale", words.ErrFixed)
	code, text = p.say(t, "a-1", token, "ask", `{"more": 1}`)
	require.Equal(t, http.StatusConflict, code)
	require.Equal(t, "instance a-1: the number of its service's instances is fixed: give it a scale\n", text)
	require.EqualValues(t, 1, p.counted(t, "ask", "fixed"))
	p.err = errors.New("no")
	code, _ = p.say(t, "a-1", token, "ask", `{"more": 1}`)
	require.Equal(t, http.StatusBadRequest, code)
}

func TestSay(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	at := words.URL(p.at, "a-1")
	require.NoError(t, words.Say(t.Context(), at, p.tokens.Of("a-1"), "ask", words.Word{More: 2}))
	require.Equal(t, 2, p.asks["a-1"].More)
	require.Equal(t, cluster.DefaultAsk, p.asks["a-1"].For)
	require.ErrorContains(t, words.Say(t.Context(), at, "x", "fail", words.Word{}), "refuses it (403 Forbidden): this is not the token of instance a-1")
	require.ErrorIs(t, words.Say(t.Context(), "http://127.0.0.1:1/v1/instances/a-1", "x", "fail", words.Word{}), words.ErrAway)
	for _, elsewhere := range []string{"http://192.0.2.1:80/x", "https://127.0.0.1:80", "", "http://localhost:80"} {
		require.ErrorContains(t, words.Say(t.Context(), elsewhere, "x", "fail", words.Word{}), "no address of this host's launcher")
	}
}

func TestTokensHold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	first, err := words.OpenTokens(file)
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	second, err := words.OpenTokens(file)
	require.NoError(t, err)
	require.Equal(t, first.Of("a-1"), second.Of("a-1"), "through a restart")
	other, err := words.OpenTokens(file + "-other")
	require.NoError(t, err)
	require.NotEqual(t, first.Of("a-1"), other.Of("a-1"), "of another node")
	require.NoError(t, os.WriteFile(file, []byte("short"), 0o600))
	_, err = words.OpenTokens(file)
	require.ErrorContains(t, err, "has 5 bytes and not 32")
	_, err = words.OpenTokens(filepath.Join(file, "none"))
	require.Error(t, err)
}

func TestMetricsAreNamedWell(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	words.NewMetrics(registry)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}
