package logs

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/leaks"
	"github.com/weir-lb/weir/launcher"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// shelf has a directory for each instance that a test puts there.
type shelf struct {
	mu   sync.Mutex
	kept []launcher.Kept
	err  error
}

func (s *shelf) Kept() ([]launcher.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]launcher.Kept(nil), s.kept...), s.err
}

func (s *shelf) add(t *testing.T, service, id string) *pen {
	dir := filepath.Join(t.TempDir(), id)
	require.NoError(t, os.Mkdir(dir, 0o700))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, launcher.Kept{ID: id, Service: service, Dir: dir})
	return newPen(dir)
}

// ask is what a handler answers to an Ask.
func ask(t *testing.T, s *shelf, a Ask) (lines []Line) {
	w := httptest.NewRecorder()
	Handler(s, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", Path+"?"+a.Query().Encode(), nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.NoError(t, Read(w.Body, func(l Line) error { lines = append(lines, l); return nil }))
	return lines
}

func texts(lines []Line) (out []string) {
	for _, l := range lines {
		if l.Stream != "" {
			out = append(out, l.Instance+": "+l.Text)
		}
	}
	return out
}

func TestHandler(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	first, second := s.add(t, "a", "a-1"), s.add(t, "a", "a-2")
	s.add(t, "b", "b-1").write(5)
	first.write(3)
	second.lines = 1
	second.write(1)
	lines := ask(t, s, Ask{Service: "a", Tail: -1})
	require.Equal(t, []string{"a-1", "a-2"}, lines[0].Instances)
	require.Equal(t, []string{"a-1: line 0", "a-1: line 1", "a-2: line 1", "a-1: line 2"}, texts(lines), "in the order of time")
	require.Equal(t, []string{"a-1: line 2", "a-2: line 1"}, sorted(texts(ask(t, s, Ask{Service: "a", Tail: 1}))))
	require.Equal(t, []string{"a-2: line 1"}, texts(ask(t, s, Ask{Service: "a", Instance: "a-2", Tail: -1})))
	require.Equal(t, []string{"a-1: line 2"}, texts(ask(t, s, Ask{Service: "a", Tail: -1, Since: noon.Add(1500 * time.Millisecond)})))
	require.Empty(t, texts(ask(t, s, Ask{Service: "a", Instance: "b-1", Tail: -1})), "of another service")
	require.Empty(t, ask(t, s, Ask{Service: "none", Tail: -1})[0].Instances)
	s.err = errors.New("a disk is gone")
	lines = ask(t, s, Ask{Service: "a", Tail: 1})
	require.Equal(t, "a disk is gone", lines[0].Note, "what is there is told all the same")
	require.Len(t, texts(lines), 2)
}

func sorted(texts []string) []string {
	if len(texts) == 2 && texts[0] > texts[1] {
		texts[0], texts[1] = texts[1], texts[0]
	}
	return texts
}

func TestAsksThatAreNone(t *testing.T) {
	t.Parallel()
	h := Handler(&shelf{}, slog.New(slog.DiscardHandler))
	for query, want := range map[string]string{
		"":                                   "service: name",
		"service=A B&tail=1":                 "service: name",
		"service=a&tail=1&instance=..":       "instance: ",
		"service=a":                          "tail: want a number",
		"service=a&tail=-2":                  "tail: want a number",
		"service=a&tail=1&since=yesterday":   "since: want a time",
		"service=a&tail=1&follow=for%20ever": "follow: want true or false",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", Path+"?"+strings.ReplaceAll(query, " ", "%20"), nil))
		require.Equal(t, http.StatusBadRequest, w.Code, query)
		require.Contains(t, w.Body.String(), want)
	}
}

// What comes is told as it comes, also of an instance that is started meanwhile, until the one who asked goes away.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	p := s.add(t, "a", "a-1")
	p.write(2)
	server := httptest.NewServer(Handler(s, slog.New(slog.DiscardHandler)))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+Path+"?"+Ask{Service: "a", Tail: 1, Follow: true}.Query().Encode(), nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	var got []string
	live := false
	_ = Read(answer.Body, func(l Line) error {
		switch {
		case l.Stream != "":
			got = append(got, l.Instance+": "+l.Text)
		case l.Live && !live: // it is said again where nothing comes for long
			live = true
			p.write(1)
		}
		switch len(got) {
		case 2:
			s.add(t, "a", "a-2").write(1)
			got = append(got, "-")
		case 4:
			cancel()
		}
		return nil
	})
	require.Equal(t, []string{"a-1: line 1", "a-1: line 2", "-", "a-2: line 0"}, got)
	http.DefaultClient.CloseIdleConnections()
}

func TestReadRefusesRubbish(t *testing.T) {
	t.Parallel()
	tell := func(Line) error { return nil }
	require.ErrorContains(t, Read(strings.NewReader("<html>"), tell), "read its answer: invalid character")
	require.ErrorContains(t, Read(strings.NewReader(strings.Repeat("x", longLine+1)), tell), "token too long")
	gone := errors.New("gone")
	require.ErrorIs(t, Read(strings.NewReader("{}\n"), func(Line) error { return gone }), gone)
}
