package check

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// probed makes one check of an address, in each way that the checker may: the instance is on this host, or elsewhere.
func probed(t *testing.T, a netip.AddrPort, c cluster.Check) Outcome {
	t.Helper()
	full := c.WithDefaults()
	there := task{id: ID{"a", "i1"}, check: &full, address: a, where: a.String()}
	here := there
	here.own = true
	o := probedBy(t, there, run)
	if !here.asks() {
		return o
	}
	here.question = here.ask()
	again := probedBy(t, here, exchanged)
	switch {
	case strings.Contains(o.Reason+again.Reason, "reset by peer"): // of who hangs up that may be seen first, or not
		again.Reason, again.Output = o.Reason, o.Output
	case strings.HasPrefix(o.Reason, "no answer"):
		again.Output = o.Output // what came in time
	}
	require.Equal(t, o, again)
	return o
}

// probedBy does it again where this machine did not get to run it.
func probedBy(t *testing.T, what task, way func(context.Context, task) Outcome) (o Outcome) {
	t.Helper()
	for o.Reason = stoppedReason; o.Reason == stoppedReason; {
		began := time.Now()
		if o = way(t.Context(), what); o.Reason != stoppedReason {
			require.Less(t, time.Since(began), what.timeout()+5*time.Second, "it is bounded in time")
		}
	}
	require.LessOrEqual(t, len(o.Reason), cluster.MaxOutput)
	require.LessOrEqual(t, len(o.Output), cluster.MaxOutput)
	require.Positive(t, o.Took)
	o.Took = 0
	return o
}

// exchanged asks as the checker asks several together.
func exchanged(ctx context.Context, t task) (o Outcome) {
	var probes sync.WaitGroup
	converse(ctx, []due{{task: t}}, func(_ due, told Outcome) { o = told }, &probes)
	probes.Wait()
	return o
}

// peer serves each connection by a function.
func peer(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, a := server(t, host+":0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return a
}

func address(t *testing.T, s *httptest.Server) netip.AddrPort {
	t.Helper()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

// soon is the timeout where none is to answer.
const soon = cluster.Duration(300 * time.Millisecond)

// patient is the timeout where the answer is what matters: a busy machine takes its time.
const patient = cluster.Duration(20 * time.Second)

func TestProbeTCP(t *testing.T) {
	t.Parallel()
	check := cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: patient}
	_, well := server(t, host+":0")
	require.Equal(t, Outcome{Kind: Good}, probed(t, well, check))
	require.Equal(t, Outcome{Kind: Refused, Reason: "connection refused"}, probed(t, netip.MustParseAddrPort(host+":1"), check))
	require.Equal(t, Outcome{Kind: Bad, Reason: "network is unreachable"}, probed(t, netip.MustParseAddrPort("192.168.99.1:80"), check))
}

// A full queue of a listener that accepts nobody: the kernel answers no more.
func TestProbeThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	a := deaf(t)
	require.Equal(t, Outcome{Kind: Bad, Reason: "no answer within 300ms"}, probed(t, a, cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: soon}))
	require.Equal(t, Outcome{Kind: Bad, Reason: "no answer within 300ms"}, probed(t, a, cluster.Check{HTTP: &cluster.HTTPCheck{}, Timeout: soon}))
	require.Equal(t, Outcome{Kind: Bad, Reason: "no answer within 300ms"}, probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{}, Timeout: soon}))
}

func TestProbeHTTP(t *testing.T) {
	t.Parallel()
	var asked atomic.Pointer[http.Request]
	var others atomic.Int64
	elsewhere := address(t, httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { others.Add(1) })))
	mux := http.NewServeMux()
	mux.HandleFunc("/well", func(w http.ResponseWriter, r *http.Request) { asked.Store(r); _, _ = io.WriteString(w, "all is well") })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+elsewhere.String()+"/", http.StatusFound)
	})
	mux.HandleFunc("/ill", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		_, _ = io.WriteString(w, "\x00\x01 no disk")
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(".", 8000)+"ma") // the text lies across two of them
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "gic")
	})
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(".", cluster.MaxCheckBody-2)+"magic")
	})
	mux.HandleFunc("/continue", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	})
	s := httptest.NewUnstartedServer(mux)
	var conns atomic.Int64
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			conns.Add(1)
		}
	}
	s.Start()
	a := address(t, s)
	ask := func(h cluster.HTTPCheck) Outcome { return probed(t, a, cluster.Check{HTTP: &h, Timeout: patient}) }

	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/well?a=b", Host: "shop.example", Headers: map[string]string{"X-Check": "yes"}}).Kind)
	r := asked.Load()
	require.Equal(t, "shop.example", r.Host)
	require.Equal(t, "yes", r.Header.Get("X-Check"))
	require.Equal(t, "weir-check", r.UserAgent())
	require.Equal(t, "b", r.FormValue("a"))
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/well", Headers: map[string]string{"user-agent": "me"}}).Kind)
	require.Equal(t, []string{"me"}, asked.Load().Header["User-Agent"])
	require.Equal(t, a.String(), asked.Load().Host)
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/well", Contains: "is well"}).Kind)
	require.Equal(t, Outcome{Kind: Bad, Reason: `the first 64 KiB of its answer do not contain "ill"`, Output: "all is well"}, ask(cluster.HTTPCheck{Path: "/well", Contains: "ill"}))
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/chunks", Contains: "magic"}).Kind)
	require.Equal(t, Bad, ask(cluster.HTTPCheck{Path: "/late", Contains: "magic"}).Kind, "it lies across the limit")
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/late", Contains: "ma"}).Kind)
	require.Equal(t, Outcome{Kind: Bad, Reason: "status 500, want 200-399", Output: `\x00\x01 no disk`}, ask(cluster.HTTPCheck{Path: "/ill"}))
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/ill", Status: "500"}).Kind)
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/continue", Status: "204"}).Kind)
	require.Equal(t, Good, ask(cluster.HTTPCheck{Path: "/moved"}).Kind, "302 is in the default range")
	require.Equal(t, "status 302, want 200", ask(cluster.HTTPCheck{Path: "/moved", Status: "200"}).Reason)
	require.Zero(t, others.Load(), "no redirect is followed")
	require.Zero(t, conns.Load(), "no connection is kept")
}

// What answers badly costs its timeout and a bounded part of memory, and nothing else.
func TestProbeHTTPOfHostilePeers(t *testing.T) {
	t.Parallel()
	ask := func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) }
	flood := func(start, more string) func(net.Conn) {
		return func(conn net.Conn) {
			ask(conn)
			for _, err := io.WriteString(conn, start); err == nil; {
				_, err = io.WriteString(conn, more)
			}
		}
	}
	block := strings.Repeat("x", 1<<16)
	tests := []struct {
		name    string
		peer    func(net.Conn)
		want    Kind
		reasons string
	}{
		{"hangs", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, Bad, "no answer within 300ms"},
		{"hangs in the headers", func(conn net.Conn) {
			ask(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nA:")
			_, _ = io.Copy(io.Discard, conn)
		}, Bad, "no answer within 300ms"},
		{"drips", func(conn net.Conn) {
			ask(conn)
			for _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err == nil; time.Sleep(10 * time.Millisecond) {
				_, err = io.WriteString(conn, ".")
			}
		}, Bad, "no answer within 300ms"},
		{"floods", flood("HTTP/1.1 200 OK\r\n\r\n", block), Bad, "do not contain"},
		{"floods in chunks", flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 1<<12)), Bad, "do not contain"},
		{"floods headers", flood("HTTP/1.1 200 OK\r\n", "A: "+block+"\r\n"), Bad, "longer than 65536 bytes"},
		{"floods preliminary answers", flood("", "HTTP/1.1 100 Continue\r\n\r\n"), Bad, "preliminary"},
		{"sends binary", func(conn net.Conn) { ask(conn); _, _ = conn.Write([]byte("\x00\xff\x1b[2J\x07\x80")) }, Bad, "its answer is no HTTP"},
		{"speaks something else", func(conn net.Conn) { ask(conn); _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n\r\n") }, Bad, "its answer is no HTTP"},
		{"sends lines of binary", func(conn net.Conn) { ask(conn); _, _ = io.WriteString(conn, "HTTP/1.1 \x00\xff\x1b[2J\r\n\r\n") }, Bad, "its answer is no HTTP"},
		{"closes at once", func(net.Conn) {}, Bad, ""},
		{"claims a huge body", func(conn net.Conn) {
			ask(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx")
		}, Bad, "it closes the connection before its answer is whole"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := soon
			if !strings.HasPrefix(test.reasons, "no answer") {
				timeout = patient
			}
			o := probed(t, peer(t, test.peer), cluster.Check{HTTP: &cluster.HTTPCheck{Contains: "never"}, Timeout: timeout})
			require.Equal(t, test.want, o.Kind)
			require.Contains(t, o.Reason, test.reasons)
			require.Equal(t, line(o.Reason), o.Reason)
			require.Equal(t, line(o.Output), o.Output)
		})
	}
}

// A server of HTTP/1.1 that is asked by gRPC is called that.
func TestProbeGRPCOfAnHTTPServer(t *testing.T) {
	t.Parallel()
	a := peer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1<<10))
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
		_, _ = io.Copy(io.Discard, conn)
	})
	require.Equal(t, Outcome{Kind: Bad, Reason: "it speaks HTTP/1.1, and gRPC needs HTTP/2"}, probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{}, Timeout: patient}))
}

// Memory does not follow what floods.
func TestProbeMemory(t *testing.T) {
	block := make([]byte, 1<<20)
	a := peer(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		for _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err == nil; {
			_, err = conn.Write(block)
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 20
	for range n {
		probed(t, a, cluster.Check{HTTP: &cluster.HTTPCheck{Contains: "never"}, Timeout: patient})
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/(2*n), uint64(200<<10), "bytes for a check, the peer's own included")
}

func TestProbeTLS(t *testing.T) {
	t.Parallel()
	var name atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { name.Store(r.TLS.ServerName) }))
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	a := address(t, s)
	ask := func(tls *cluster.CheckTLS) Outcome {
		return probed(t, a, cluster.Check{HTTP: &cluster.HTTPCheck{TLS: tls}, Timeout: patient})
	}
	require.Equal(t, Good, ask(&cluster.CheckTLS{Name: "shop.example"}).Kind)
	require.Equal(t, "shop.example", name.Load())
	require.Equal(t, Good, ask(&cluster.CheckTLS{}).Kind)
	o := ask(&cluster.CheckTLS{Verify: true})
	require.Equal(t, Bad, o.Kind)
	require.Contains(t, o.Reason, "certificate")
	o = ask(nil)
	require.Equal(t, "status 400, want 200-399", o.Reason, "plain HTTP to a port of TLS")
	plain := peer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 No\r\n\r\n") })
	require.Equal(t, Bad, probed(t, plain, cluster.Check{HTTP: &cluster.HTTPCheck{TLS: &cluster.CheckTLS{}}, Timeout: patient}).Kind)
}

// A check that the end of the checker interrupts says nothing.
func TestProbeThatIsStopped(t *testing.T) {
	t.Parallel()
	a := peer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, c := range []cluster.Check{{HTTP: &cluster.HTTPCheck{}}, {GRPC: &cluster.GRPCCheck{}}, {Exec: &cluster.ExecCheck{Command: []string{"/bin/sleep", "60"}}}} {
		c.Interval, c.Timeout = cluster.MaxInterval, cluster.MaxInterval
		what := task{own: true, check: &c, address: a}
		ways := []func(context.Context, task) Outcome{run}
		if what.asks() {
			ways = append(ways, exchanged)
		}
		for _, way := range ways {
			for _, after := range []time.Duration{promptly / 4, 2 * promptly} {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(after, cancel)
				began := time.Now()
				o := way(ctx, what)
				require.Equal(t, Unknown, o.Kind, c.Kind())
				require.Less(t, time.Since(began), 10*time.Second)
			}
		}
	}
}

func TestUnknownKind(t *testing.T) {
	t.Parallel()
	require.Equal(t, Unknown, probed(t, netip.MustParseAddrPort(host+":1"), cluster.Check{}).Kind)
}
