package ops

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// running starts a server, and checks at the end of the test that Run returns nil.
func running(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Listen(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

type answer struct {
	status            int
	contentType, body string
}

func ask(t *testing.T, s *Server, method, path, host string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", s.Addr().Port(), path), nil)
	require.NoError(t, err)
	req.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(body)}
}

func get(t *testing.T, s *Server, path string) answer {
	t.Helper()
	return ask(t, s, http.MethodGet, path, "")
}

const text = "text/plain; charset=utf-8"

func TestChecks(t *testing.T) {
	s := running(t, Options{})
	require.Equal(t, answer{200, text, "ok\n"}, get(t, s, "/readyz"), "without checks")

	reason := errors.New("no snapshot yet\nsince 12s")
	s.Ready("rules", func() error { return reason })
	s.Ready("etcd", func() error { return nil })
	require.Equal(t, answer{503, text, "[+] etcd\n[-] rules: no snapshot yet; since 12s\nfailed: 1 of 2\n"}, get(t, s, "/readyz"))
	require.Equal(t, answer{200, text, "ok\n"}, get(t, s, "/livez"), "not ready is no reason to restart")
	reason = nil
	require.Equal(t, answer{200, text, "[+] etcd\n[+] rules\nok\n"}, get(t, s, "/readyz"))

	s.Live("loop", func() error { return errors.New("stuck") })
	require.Equal(t, answer{503, text, "[-] loop: stuck\nfailed: 1 of 1\n"}, get(t, s, "/livez"))
	require.Equal(t, 200, get(t, s, "/readyz").status)
	require.Panics(t, func() { s.Ready("etcd", func() error { return nil }) })
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_test_total", Help: "a test"})
	registry.MustRegister(c)
	s := running(t, Options{Metrics: registry})
	c.Add(41)
	require.Contains(t, get(t, s, "/metrics").body, "weir_test_total 41\n")
	require.Equal(t, 404, get(t, running(t, Options{}), "/metrics").status)
}

func TestPages(t *testing.T) {
	s := running(t, Options{})
	s.Page("rules", func(w io.Writer, _ *http.Request) error {
		_, err := io.WriteString(w, "table weir\n")
		return err
	})
	s.Page("state", func(w io.Writer, r *http.Request) error {
		_, err := fmt.Fprintf(w, `{"service": %q}`+"\n", r.URL.Query().Get("service"))
		return err
	})
	s.Page("broken", func(w io.Writer, _ *http.Request) error {
		_, _ = io.WriteString(w, "half of ")
		return errors.New("driver is away")
	})
	require.Equal(t, answer{200, text, "table weir\n"}, get(t, s, "/debug/rules"))
	require.Equal(t, answer{200, "application/json", "{\"service\": \"a\"}\n"}, get(t, s, "/debug/state?service=a"))
	require.Equal(t, answer{500, text, "driver is away\n"}, get(t, s, "/debug/broken"))
	require.Equal(t, answer{200, text, "/debug/broken\n/debug/rules\n/debug/state\n"}, get(t, s, "/debug/"))
	require.Equal(t, 404, get(t, s, "/debug/nothing").status)
	require.Equal(t, 405, ask(t, s, http.MethodPost, "/debug/rules", "").status)
	for _, name := range []string{"", "A", "a/b", "a-", "pprof", "rules"} {
		require.Panics(t, func() { s.Page(name, func(io.Writer, *http.Request) error { return nil }) }, name)
	}
}

func TestTextThatLooksLikeJSON(t *testing.T) {
	for body, want := range map[string]string{
		`[1, 2]`: "application/json", ` {"a":1} `: "application/json", `[rules] none`: text, `{`: text, `7`: text, ``: text,
	} {
		require.Equal(t, want, contentType([]byte(body)), body)
	}
}

func TestPprofOnlyWhenAskedFor(t *testing.T) {
	require.Equal(t, 404, get(t, running(t, Options{}), "/debug/pprof/").status)
	s := running(t, Options{Pprof: true})
	require.Contains(t, get(t, s, "/debug/pprof/").body, "goroutine")
	require.Equal(t, 200, get(t, s, "/debug/pprof/heap").status)
	require.Equal(t, 200, get(t, s, "/debug/pprof/cmdline").status)
}

func TestHostHeader(t *testing.T) {
	s := running(t, Options{Hosts: []string{"Node1.example"}})
	wild := running(t, Options{Address: "0.0.0.0:0", AllowRemote: true})
	port := s.Addr().Port()
	for _, tc := range []struct {
		host string
		want int
	}{
		{"localhost", 200}, {"LOCALHOST.:80", 200}, {fmt.Sprintf("localhost:%d", port), 200},
		{"127.0.0.1", 200}, {"127.1.2.3:99", 200}, {"[::1]:8080", 200}, {"[::1]", 200},
		{"node1.example:9000", 200}, {"node1.example", 200},
		{"evil.example", 403}, {"localhost.evil.example", 403}, {"127.0.0.1.evil.example:80", 403},
		{"192.0.2.7", 403}, {"[2001:db8::1]:80", 403}, {"node2.example", 403},
	} {
		require.Equal(t, tc.want, ask(t, s, http.MethodGet, "/livez", tc.host).status, tc.host)
	}
	require.Equal(t, 200, ask(t, wild, http.MethodGet, "/livez", "127.0.0.1").status)
	require.Equal(t, 403, ask(t, wild, http.MethodGet, "/livez", "0.0.0.0").status)
	require.Equal(t, 403, ask(t, wild, http.MethodGet, "/livez", "node1.example").status)
}

func TestRequestWithoutHost(t *testing.T) {
	s := running(t, Options{})
	conn, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /livez HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "403")
}

// Which address a request came in at decides; it is told here, since a test's host may have none but loopback.
func TestHostIsTheAddressCalled(t *testing.T) {
	for _, tc := range []struct {
		local, host string
		want        bool
	}{
		{"192.168.10.1", "192.168.10.1:9000", true},
		{"192.168.10.1", "192.168.10.2:9000", false},
		{"fd00:10::1", "[fd00:10::1]:9000", true},
		{"::ffff:192.168.10.1", "192.168.10.1", true},
	} {
		local := &net.TCPAddr{IP: net.ParseIP(tc.local), Port: 9000}
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodGet, "/", nil)
		require.NoError(t, err)
		r.Host = tc.host
		require.Equal(t, tc.want, newHosts(nil).allow(r), "%s at %s", tc.host, tc.local)
	}
}

func TestListenAddress(t *testing.T) {
	for _, tc := range []struct {
		address string
		remote  bool
		want    string // empty: refused
	}{
		{"", false, "127.0.0.1:0"},
		{"127.0.0.1:9000", false, "127.0.0.1:9000"},
		{"localhost:9000", false, "127.0.0.1:9000"},
		{"[::1]:9000", false, "[::1]:9000"},
		{":9000", false, ""},
		{"0.0.0.0:9000", false, ""},
		{"[::]:9000", false, ""},
		{"192.168.10.1:9000", false, ""},
		{"[::ffff:192.168.10.1]:9000", false, ""},
		{"192.168.10.1:9000", true, "192.168.10.1:9000"},
		{":9000", true, "[::]:9000"},
		{"node1:9000", true, ""},
		{"127.0.0.1", true, ""},
		{"127.0.0.1:http", true, ""},
	} {
		got, err := listenAddress(tc.address, tc.remote)
		if tc.want == "" {
			require.Error(t, err, tc.address)
			continue
		}
		require.NoError(t, err, tc.address)
		require.Equal(t, tc.want, got.String())
	}
	require.ErrorIs(t, Options{Address: "0.0.0.0:0"}.Check(), ErrRemote)
	require.NoError(t, Options{Address: "0.0.0.0:0", AllowRemote: true}.Check())
	_, err := Listen(Options{Address: "0.0.0.0:0"})
	require.ErrorContains(t, err, "not loopback")
}

func TestTakenAddress(t *testing.T) {
	s, err := Listen(Options{Address: lab.Loopback().String()}) // where nobody else is given the port meanwhile
	require.NoError(t, err)
	_, err = Listen(Options{Address: s.Addr().String()})
	require.ErrorContains(t, err, "in use")
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	again, err := Listen(Options{Address: s.Addr().String()})
	require.NoError(t, err, "Close frees it")
	require.NoError(t, again.Close())
}

func TestRunReportsALostListener(t *testing.T) {
	s, err := Listen(Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Run(t.Context()), net.ErrClosed)
}

func TestStopCancelsRequests(t *testing.T) {
	s, err := Listen(Options{})
	require.NoError(t, err)
	entered := make(chan struct{})
	s.Page("slow", func(_ io.Writer, r *http.Request) error {
		close(entered)
		<-r.Context().Done()
		return r.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got := make(chan int, 1) // 0: no answer
	go func() {
		status := 0
		if resp, err := client.Get("http://" + s.Addr().String() + "/debug/slow"); err == nil {
			status = resp.StatusCode
			resp.Body.Close()
		}
		got <- status
	}()
	<-entered
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, 500, <-got, "the request ends by itself, before it is cut off")
	_, err = net.Dial("tcp", s.Addr().String())
	require.Error(t, err, "listener is closed")
}
