package hook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/hook"
)

func listOf(t *testing.T, d *hook.Driver) []launcher.Status {
	t.Helper()
	list, err := d.List(t.Context())
	require.NoError(t, err)
	return list
}

// Whatever an acquire does wrong, it is an error, and nothing is left of it: neither in the cloud nor in the notes.
func TestBadAcquires(t *testing.T) {
	t.Parallel()
	type odd = func(c *cloud, what string, q request, w http.ResponseWriter) bool
	answer := func(text string) odd {
		return func(c *cloud, what string, q request, w http.ResponseWriter) bool {
			if what == "acquire" {
				c.do(what, q)
				fmt.Fprint(w, text)
			}
			return what == "acquire"
		}
	}
	for name, test := range map[string]struct {
		odd    odd
		want   string
		untrue bool
	}{
		"fails half way": {func(c *cloud, what string, q request, w http.ResponseWriter) bool {
			if what == "acquire" {
				c.do(what, q)
				http.Error(w, "quota\x1b[2J exceeded", http.StatusInternalServerError)
			}
			return what == "acquire"
		}, `quota\x1b[2J exceeded`, false},
		"answers twice":     {answer(`{"id": "a", "host": "10.1.0.2"}{"id": "a", "host": "10.1.0.3"}`), "answered more than once", true},
		"another id":        {answer(`{"id": "b", "host": "10.1.0.2"}`), `answered with "b"`, true},
		"no address":        {answer(`{"id": "a"}`), "nobody can be reached", true},
		"an odd address":    {answer(`{"id": "a", "host": "169.254.169.254"}`), "nobody can be reached", true},
		"not JSON":          {answer("<html>"), "<html>", true},
		"nothing":           {answer(""), "EOF", true},
		"too much":          {answer(strings.Repeat(" ", 5<<20)), "too long", true},
		"another than list": {answer(`{"id": "a", "host": "10.9.9.9"}`), "list says 10.1.0.2", true},
		"is only said to be": {func(_ *cloud, what string, _ request, w http.ResponseWriter) bool {
			if what == "acquire" {
				fmt.Fprint(w, `{"id": "a", "host": "10.1.0.2"}`)
			}
			return what == "acquire"
		}, "list does not have it", true},
		"is moved": {func(_ *cloud, what string, _ request, w http.ResponseWriter) bool {
			if what == "acquire" {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			}
			return what == "acquire"
		}, "307", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, url := newCloud(t)
			d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: url, Settle: short})
			require.NoError(t, d.Ensure(t.Context(), spec("other")))
			c.mu.Lock()
			c.next = 0
			c.mu.Unlock()
			c.behave(test.odd)
			err := d.Ensure(t.Context(), spec("a"))
			require.ErrorContains(t, err, test.want)
			if test.untrue {
				require.ErrorIs(t, err, launcher.ErrUntrue)
			}
			require.Equal(t, []string{"other"}, c.has(), "what was acquired after all is released")
			require.Len(t, listOf(t, d), 1)
			require.Empty(t, listOf(t, d)[0].Problems, "the other one is not touched")
			c.behave(nil)
			require.NoError(t, d.Ensure(t.Context(), spec("a")))
		})
	}
}

// A release that fails, or is only said to be done, leaves the instance listed with the reason until it works.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"lies":  {"{}", "list still has it"},
		"fails": {"", "disk on fire"},
	} {
		c, url := newCloud(t)
		dir := filepath.Join(t.TempDir(), "notes")
		d := open(t, hook.Config{Dir: dir, URL: url, Settle: short})
		require.NoError(t, d.Ensure(t.Context(), spec("a")), name)
		c.behave(func(_ *cloud, what string, _ request, w http.ResponseWriter) bool {
			if what == "release" && test.text == "" {
				http.Error(w, "disk on fire", http.StatusInternalServerError)
			} else if what == "release" {
				fmt.Fprint(w, test.text)
			}
			return what == "release"
		})
		require.ErrorContains(t, d.Stop(t.Context(), "a", time.Second), test.want, name)
		d = open(t, hook.Config{Dir: dir, URL: url, Settle: short}) // also after a restart
		got := listOf(t, d)
		require.Equal(t, launcher.Stopping, got[0].State, name)
		require.Contains(t, got[0].Problems[0].What, "has not done so", name)
		require.ErrorContains(t, d.Ensure(t.Context(), spec("a")), test.want, "it cannot be acquired before: %s", name)
		c.behave(nil)
		require.NoError(t, d.Stop(t.Context(), "a", time.Second), name)
		require.Empty(t, c.has(), name)
		require.Empty(t, listOf(t, d), name)
	}
	// What fails because it is gone already is gone.
	c, url := newCloud(t)
	d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: url, Settle: short})
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	c.behave(func(c *cloud, what string, q request, w http.ResponseWriter) bool {
		if what == "release" {
			c.do(what, q)
			http.Error(w, "no such machine", http.StatusNotFound)
		}
		return what == "release"
	})
	require.NoError(t, d.Stop(t.Context(), "a", time.Second))
	require.Empty(t, listOf(t, d))
}

// One wish has one key, also across a crash; another wish has another.
func TestKeys(t *testing.T) {
	t.Parallel()
	c, url := newCloud(t)
	dir := filepath.Join(t.TempDir(), "notes")
	d := open(t, hook.Config{Dir: dir, URL: url, Settle: short})
	key := func() string {
		t.Helper()
		note := struct{ Key, Phase string }{}
		data, err := os.ReadFile(filepath.Join(dir, "a.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &note))
		require.NotEmpty(t, note.Key)
		return note.Key
	}
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	first := key()
	require.Equal(t, "list  \nacquire a "+first+"\nlist  ", c.heard())
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.Equal(t, "list  ", c.heard())

	// The launcher ended after it wrote down what it was about to ask.
	data, err := os.ReadFile(filepath.Join(dir, "a.json"))
	require.NoError(t, err)
	data = []byte(strings.Replace(string(data), `"phase":"holding"`, `"phase":"acquiring"`, 1))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), data, 0o600))
	d = open(t, hook.Config{Dir: dir, URL: url, Settle: short})
	require.Contains(t, listOf(t, d)[0].Problems[0].What, "when the launcher ended")
	c.heard()
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.Contains(t, c.heard(), "acquire a "+first)
	require.Len(t, c.has(), 1)
	require.Equal(t, launcher.Running, listOf(t, d)[0].State)

	// The machine died: what comes now is another one.
	c.mu.Lock()
	delete(c.machines, "a")
	c.mu.Unlock()
	require.Equal(t, launcher.Exited, listOf(t, d)[0].State)
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.NotEqual(t, first, key())
	got := listOf(t, d)[0]
	require.Equal(t, launcher.Running, got.State)
	require.Len(t, got.Exits, 1)
	require.NoError(t, d.Stop(t.Context(), "a", 0))
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.NotEqual(t, first, key())
}

// A launcher names its own node in what it asks for, and the hook may have the instance anywhere.
func TestInstancesElsewhere(t *testing.T) {
	t.Parallel()
	c, url := newCloud(t)
	d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: url, Settle: short})
	s := spec("a")
	s.Host = netip.MustParseAddr("192.168.1.1")
	require.NoError(t, d.Ensure(t.Context(), s))
	require.Equal(t, []string{"a"}, c.has())
	require.Equal(t, "10.1.0.2", listOf(t, d)[0].Host.String())
}

func TestLists(t *testing.T) {
	t.Parallel()
	c, url := newCloud(t)
	dir := filepath.Join(t.TempDir(), "notes")
	d := open(t, hook.Config{Dir: dir, URL: url, Settle: short})
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	say := func(text string) {
		c.behave(func(_ *cloud, what string, _ request, w http.ResponseWriter) bool {
			if what == "list" {
				fmt.Fprint(w, text)
			}
			return what == "list"
		})
	}
	problem := func(want string) {
		t.Helper()
		got := listOf(t, d)
		require.Len(t, got[0].Problems, 1)
		require.Contains(t, got[0].Problems[0].What, want)
	}
	say(`{"instances": [{"id": "a", "service": "s", "host": "10.1.0.2", "problem": "slow \u001b[2J disk"}]}`)
	problem(`the hook says: slow \x1b[2J disk`)
	say(`{"instances": [{"id": "a", "host": "10.1.0.9"}, {"id": "a", "host": "10.1.0.2"}]}`)
	problem("lists it twice, at 10.1.0.2 and at 10.1.0.9")
	say(`{"instances": [{"id": "a", "host": "10.1.0.9"}]}`)
	problem("acquired it at 10.1.0.2 and lists it at 10.1.0.9")
	require.Equal(t, "10.1.0.2", listOf(t, d)[0].Host.String())
	for text, want := range map[string]string{
		`{"instances": [{"id": "../a"}]}`:   "../a",
		`[]`:                                "cannot unmarshal",
		`{"instances": []} {}`:              "more than once",
		`{"instances": [{"host": "word"}]}`: "ParseAddr",
	} {
		say(text)
		_, err := d.List(t.Context())
		require.ErrorIs(t, err, launcher.ErrUntrue, text)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, d.Ensure(t.Context(), spec("b")), launcher.ErrUntrue, "nothing is acquired from somebody who cannot say what he has")
	}
	c.behave(nil)
	require.Equal(t, []string{"a"}, c.has())

	// Notes that are lost are found again in the list.
	require.NoError(t, os.Remove(filepath.Join(dir, "a.json")))
	problem("nobody here asked for it")
	other := spec("a")
	other.Service = "t"
	require.ErrorIs(t, d.Ensure(t.Context(), other), launcher.ErrDiffers)
	c.heard()
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.Equal(t, "list  ", c.heard(), "it is taken over, not acquired")
	require.Empty(t, listOf(t, d)[0].Problems)
	require.NoError(t, os.Remove(filepath.Join(dir, "a.json")))
	require.NoError(t, d.Stop(t.Context(), "a", 0))
	require.Empty(t, c.has())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.json"), []byte("{"), 0o600))
	_, err := d.List(t.Context())
	require.ErrorContains(t, err, "x.json")
}

// A program that hangs is ended in time, with all that it started.
func TestProgramHangs(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "pid")
	p := script(t, `cat >/dev/null; case $1 in list) echo '{"instances": []}';; acquire) sleep 300 & echo $! >`+mark+`; sleep 301;; *) echo '{}';; esac`)
	d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), Program: p, Timeout: slow, Settle: short})
	start := time.Now()
	require.ErrorContains(t, d.Ensure(t.Context(), spec("a")), "no answer within 5s")
	require.Less(t, time.Since(start), time.Minute, "what it started would hold its output open for five")
	pid, err := os.ReadFile(mark)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	}, time.Minute, time.Millisecond)
	require.Empty(t, listOf(t, d))
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	notes := filepath.Join(t.TempDir(), "notes")
	for name, test := range map[string]struct{ text, want string }{
		"fails":          {"echo 'no  credentials\n\a' >&2; exit 3", `exit status 3: no credentials \a`},
		"floods":         {"cat /dev/zero | head -c 6000000", "too long"},
		"floods stderr":  {"cat /dev/zero | head -c 6000000 >&2; exit 1", "exit status 1"},
		"reads nothing":  {"exec <&-; exit 1", "exit status 1"},
		"kills itself":   {"kill -9 $$", "signal: killed"},
		"says what":      {"echo \"$1\"", "list"},
		"does not exist": {"", "exec format error"},
	} {
		d := open(t, hook.Config{Dir: notes, Program: script(t, "cat >/dev/null\n"+test.text)})
		if name == "does not exist" {
			d = open(t, hook.Config{Dir: notes, Program: []string{filepath.Join(t.TempDir(), "none")}})
			test.want = "no such file"
		}
		_, err := d.List(t.Context())
		require.ErrorContains(t, err, test.want, name)
		require.Less(t, len(err.Error()), 3000)
	}
	d := open(t, hook.Config{Dir: notes, Program: script(t, `sleep 300 & echo '{"instances": []}'; trap 'kill %1' EXIT; exit 0`)})
	require.Empty(t, listOf(t, d))
}

func TestWebHangs(t *testing.T) {
	t.Parallel()
	c, url := newCloud(t)
	d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: url, Timeout: slow, Settle: short})
	acquired, done := make(chan struct{}, 2), make(chan struct{})
	t.Cleanup(func() { close(done) }) // before the server is closed, which waits for its answers
	c.behave(func(c *cloud, what string, q request, _ http.ResponseWriter) bool {
		if what == "acquire" {
			c.do(what, q)
			acquired <- struct{}{}
			c.mu.Unlock()
			<-done
			c.mu.Lock()
		}
		return what == "acquire"
	})
	require.ErrorContains(t, d.Ensure(t.Context(), spec("a")), "no answer within 5s")
	require.Len(t, acquired, 1)
	require.Empty(t, c.has())
	require.Empty(t, listOf(t, d))

	// The caller may have less time. What it began is undone nevertheless.
	<-acquired
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-acquired; cancel() }()
	require.ErrorIs(t, d.Ensure(ctx, spec("a")), context.Canceled)
	require.Empty(t, c.has())
	require.Empty(t, listOf(t, d))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	var got []string
	c := &cloud{machines: map[string]machine{}}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprint(r.URL.Path, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Idempotency-Key") != "", " ", r.Method))
		c.ServeHTTP(w, r)
	}))
	defer s.Close()
	trusting := s.Client().Transport.(*http.Transport).TLSClientConfig
	d := open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: s.URL + "/v1/", Token: "secret", TLS: trusting})
	require.NoError(t, d.Ensure(t.Context(), spec("a")))
	require.Equal(t, []string{"/v1/list Bearer secret false POST", "/v1/acquire Bearer secret true POST", "/v1/list Bearer secret false POST"}, got)
	d = open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), URL: s.URL})
	_, err := d.List(t.Context())
	require.ErrorContains(t, err, "certificate")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for want, c := range map[string]hook.Config{
		"either a program or a URL": {Dir: dir},
		"either a program":          {Dir: dir, Program: []string{"/bin/true"}, URL: "https://a"},
		"absolute path":             {Dir: dir, Program: []string{"true"}},
		"write https":               {Dir: dir, URL: "http://example.com"},
		"not the address":           {Dir: dir, URL: "https://u:p@example.com"},
		"mode 0755":                 {Dir: dir, URL: "https://example.com"},
	} {
		_, err := hook.Open(c)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
	_, err := hook.Open(hook.Config{Dir: filepath.Join(dir, "link"), URL: "https://example.com"})
	require.ErrorIs(t, err, launcher.ErrUnsafe)
}

// A machine is asked for as such, and believed in only where the hook lists it as one: a hook that knows of no machines would
// start an instance in its place.
func TestNodes(t *testing.T) {
	t.Parallel()
	c, url := newCloud(t)
	dir := filepath.Join(t.TempDir(), "notes")
	d := open(t, hook.Config{Dir: dir, URL: url, Settle: short})
	var asked launcher.Spec
	c.behave(func(_ *cloud, what string, q request, _ http.ResponseWriter) bool {
		if what == "acquire" {
			asked = q.Spec
		}
		return false
	})
	require.NoError(t, d.Ensure(t.Context(), node("n7")))
	require.Equal(t, node("n7"), asked)
	require.Equal(t, cluster.KindNode, listOf(t, d)[0].Kind)
	require.ErrorIs(t, d.Ensure(t.Context(), spec("n7")), launcher.ErrDiffers)
	imaged := spec("c1")
	imaged.Image = "registry.example/shop:7"
	require.NoError(t, d.Ensure(t.Context(), imaged))
	require.Equal(t, "registry.example/shop:7", asked.Image)
	require.NoError(t, d.Stop(t.Context(), "c1", 0))
	for _, bad := range []launcher.Spec{
		{Kind: "vm", ID: "n8", Service: "s"}, {Kind: cluster.KindNode, ID: "N.8:1", Service: "s"}, {Kind: cluster.KindNode, ID: "n8", Service: "s", Command: []string{"/bin/x"}},
		{ID: "n8", Service: "s", Image: "shop\n1"}, {Kind: cluster.KindNode, ID: "n8", Service: "s", Image: "shop:1"},
		{Kind: cluster.KindNode, ID: "n8", Service: "s", Labels: map[string]string{"a": "\x1b"}}, {ID: "n8", Service: "s", Labels: map[string]string{"a": "b"}},
	} {
		require.ErrorIs(t, d.Ensure(t.Context(), bad), launcher.ErrRefused)
	}

	// The notes are lost: what is there is known by its kind, and released as what it is.
	d = open(t, hook.Config{Dir: filepath.Join(t.TempDir(), "others"), URL: url, Settle: short})
	require.Equal(t, cluster.KindNode, listOf(t, d)[0].Kind)
	require.ErrorContains(t, d.Ensure(t.Context(), spec("n7")), "n7 is held as a node")
	require.NoError(t, d.Ensure(t.Context(), node("n7")))
	require.NoError(t, d.Stop(t.Context(), "n7", 0))
	require.Empty(t, c.has())

	// A hook of before there were machines.
	c.behave(func(c *cloud, what string, q request, w http.ResponseWriter) bool {
		if q.Spec.Kind = ""; what != "acquire" {
			return false
		}
		_ = json.NewEncoder(w).Encode(c.do(what, q))
		return true
	})
	err := d.Ensure(t.Context(), node("n7"))
	require.ErrorContains(t, err, "asked for a node n7, list has an instance")
	require.ErrorIs(t, err, launcher.ErrUntrue)
	require.Empty(t, c.has(), "and it is released")

	c.behave(nil)
	require.NoError(t, d.Ensure(t.Context(), node("n7")))
	c.mu.Lock()
	m := c.machines["n7"]
	m.Kind = ""
	c.machines["n7"] = m
	c.mu.Unlock()
	require.Contains(t, listOf(t, d)[0].Problems[0].What, "acquired a node and lists an instance")
	c.mu.Lock()
	m.Kind = "vm"
	c.machines["n7"] = m
	c.mu.Unlock()
	_, err = d.List(t.Context())
	require.ErrorIs(t, err, launcher.ErrUntrue)
}
