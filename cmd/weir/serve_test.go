package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/launcher/process"
)

// Two control centers: one leads, both are ready; when that one stops the other leads. All with the commands themselves.
func TestServe(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, WeakHashes: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	serve := func(name string) (get func(page string) (int, string), stop func() int) {
		pages := lab.Loopback().String()
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		go func() {
			a := newApp(nil, io.Discard, &bytes.Buffer{})
			code <- a.execute(ctx, []string{"weir", "controlcenter", "serve", "--name", name, "--etcd", server.Endpoint(), "--listen", pages, "--interval", "100ms", "--lease", "1m"})
		}()
		get = func(page string) (int, string) {
			answer, err := http.Get("http://" + pages + page)
			if err != nil {
				return 0, err.Error()
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			return answer.StatusCode, string(text)
		}
		return get, func() int { cancel(); return <-code }
	}
	says := func(get func(string) (int, string), page, want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			code, text := get(page)
			return code == http.StatusOK && strings.Contains(text, want)
		}, 20*time.Second, 20*time.Millisecond, "%s of %s", want, page)
	}
	one, stopOne := serve("cc1")
	says(one, "/debug/leader", `"leading": true`)
	two, stopTwo := serve("cc2")
	says(two, "/readyz", "[+] leader")
	says(one, "/readyz", "[+] etcd")
	says(one, "/livez", "[+] leader")
	says(one, "/metrics", "weir_leader_leading 1")
	says(two, "/metrics", "weir_leader_leading 0")
	for _, page := range []string{"loads", "decisions", "problems", "leader"} {
		code, text := one("/debug/" + page)
		require.Equal(t, http.StatusOK, code, "%s: %s", page, text)
	}
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	defer s.Close()
	require.Eventually(t, func() bool {
		token, err := s.Secret(t.Context())
		return err == nil && token != ""
	}, 20*time.Second, 20*time.Millisecond)

	require.Equal(t, 0, weirAt(t, server.Endpoint(), "pause").code)
	says(one, "/debug/leader", `"paused": true`)
	says(one, "/metrics", "weir_leader_paused 1")
	require.Equal(t, 0, weirAt(t, server.Endpoint(), "resume").code)
	says(one, "/debug/leader", `"paused": false`)

	picture := weirAt(t, server.Endpoint(), "status")
	require.Contains(t, picture.out, "would follow: cc2")
	require.NotContains(t, picture.out, "not asked itself")
	require.Regexp(t, `leader +cc1 since `, picture.out)

	require.Zero(t, stopOne())
	says(two, "/debug/leader", `"leading": true`)
	require.Zero(t, stopTwo())
}

// A control center with an etcd of its own needs nothing else; a second one on its data is turned away.
func TestServeWithItsOwnEtcd(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), lab.Loopback()
	clients := "http://" + at.String()
	serve := func(ctx context.Context, talk io.Writer) int {
		a := newApp(nil, io.Discard, talk)
		return a.execute(ctx, []string{"weir", "controlcenter", "serve", "--name", "cc1", "--listen=", "--embedded", "--data-dir", dir, "--listen-client-urls", clients})
	}
	for range 2 { // it goes on from its data
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		go func() { code <- serve(ctx, &bytes.Buffer{}) }()
		require.Eventually(t, func() bool {
			s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{clients}})
			require.NoError(t, err)
			defer s.Close()
			token, err := s.Secret(t.Context())
			return err == nil && token != ""
		}, 30*time.Second, 20*time.Millisecond)
		var talk bytes.Buffer
		require.Equal(t, 4, serve(t.Context(), &talk))
		require.Regexp(t, `(?m)^error: start etcd member cc1: another process uses the data directory`, talk.String())
		cancel()
		require.Zero(t, <-code)
		require.Eventually(t, func() bool { // once no child is left that another test was starting and that has the listener, too
			busy, err := process.Busy(cluster.TCP, at.Port())
			require.NoError(t, err)
			return !busy
		}, 30*time.Second, 10*time.Millisecond)
	}
}

// weirAt runs a command on a real etcd.
func weirAt(t *testing.T, endpoint string, args ...string) result {
	t.Helper()
	var out, talk bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &talk)
	return result{a.execute(t.Context(), append([]string{"weir", "--etcd", endpoint}, args...)), out.String(), talk.String()}
}

func TestServeRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"--name Two_Words", 2, "name: "},
		{"--interval 1h", 2, "interval 1h0m0s is outside"},
		{"--lease 1ms", 2, "lease 1ms is outside"},
		{"--listen 0.0.0.0:9648", 3, "--listen-remote"},
		{"--listen nowhere", 2, "--listen: "},
		{"--listen " + taken.Addr().String(), 1, "choose another address with --listen"},
		{"--log-format xml", 2, "--log-format"},
		{"--etcd http://192.0.2.1:2379", 3, "refused as unsafe"},
		{"now", 2, `"now" is an argument too many: want "weir controlcenter serve": see`},
		{"--data-dir x", 2, "add --embedded"},
		{"--embedded --initial-cluster a=http://127.0.0.1:1,b=http://127.0.0.1:2", 2, "cc1 is not in the list of members"},
		{"--embedded --initial-cluster cc1", 2, "--initial-cluster: "},
		{"--embedded --initial-cluster-state old", 2, "--initial-cluster-state"},
		{"--embedded --listen-client-urls http://10.0.0.1:2379", 3, "plain http: use https with certificates; or --insecure-etcd"},
		{"--embedded --listen-client-urls https://10.0.0.1:2379 --cert-file x --key-file y", 3, "name the CA that signs theirs; or --insecure-etcd"},
		{"--embedded --listen-client-urls https://10.0.0.1:2379 --cert-file x --key-file y --etcd-user u", 3, "--etcd-user alone is no proof"},
		{"--embedded --initial-cluster cc1=http://10.0.0.1:2380,b=http://10.0.0.2:2380", 3, "listens for peers by plain http"},
		{"--embedded --cert-file x --key-file y", 2, "would not be used"},
	} {
		var talk bytes.Buffer
		a := newApp(nil, io.Discard, &talk)
		args := append([]string{"weir", "controlcenter", "serve", "--listen="}, strings.Fields(test.args)...)
		if !strings.Contains(test.args, "--name") {
			args = append(args, "--name", "cc1")
		}
		require.Equal(t, test.code, a.execute(t.Context(), args), fmt.Sprint(test.args, ": ", talk.String()))
		require.Contains(t, talk.String(), test.says, test.args)
	}
}
