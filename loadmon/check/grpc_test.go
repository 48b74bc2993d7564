package check

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weir-lb/weir/cluster"
)

func TestProbeGRPC(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	s := grpc.NewServer()
	h := health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	ask := func(name string) Outcome {
		return probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{Service: name}, Timeout: patient})
	}
	require.Equal(t, Outcome{Kind: Good}, ask(""))
	h.SetServingStatus("shop", healthpb.HealthCheckResponse_NOT_SERVING)
	require.Equal(t, Outcome{Kind: Bad, Reason: "it says NOT_SERVING"}, ask("shop"))
	h.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	require.Equal(t, Outcome{Kind: Good}, ask("shop"))
	require.Equal(t, Outcome{Kind: Bad, Reason: `its health service does not know "x\ny"`, Output: "unknown service"}, ask("x\ny"))
	require.Equal(t, Bad, probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{TLS: &cluster.CheckTLS{}}, Timeout: soon}).Kind, "TLS to a plain port")
}

func TestProbeGRPCOfOtherPeers(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	s := grpc.NewServer()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	check := cluster.Check{GRPC: &cluster.GRPCCheck{}, Timeout: patient}
	o := probed(t, a, check)
	require.Equal(t, Outcome{Kind: Bad, Reason: "it has no health service", Output: o.Output}, o)

	require.Equal(t, Refused, probed(t, mineAt, check).Kind)
	for name, serve := range map[string]func(net.Conn){
		"hangs":  func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"closes": func(net.Conn) {},
		"floods": func(conn net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, strings.Repeat("\x00", 1<<16))
			}
		},
		"speaks HTTP": func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m") },
	} {
		if check.Timeout = patient; name == "hangs" {
			check.Timeout = soon
		}
		o := probed(t, peer(t, serve), check)
		require.Equal(t, Bad, o.Kind, name)
		require.Equal(t, line(o.Reason+o.Output), o.Reason+o.Output, name)
	}
}

// What a peer answers that speaks HTTP/2, but no proper gRPC.
func TestProbeGRPCOfOddAnswers(t *testing.T) {
	t.Parallel()
	field := func(f *http2.Framer, end bool, fields ...string) {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
	}
	answer := func(body string, trailers ...string) func(*http2.Framer) {
		return func(f *http2.Framer) {
			field(f, false, ":status", "200", "content-type", "application/grpc")
			_ = f.WriteData(1, false, []byte(body))
			field(f, true, trailers...)
		}
	}
	const serving = "\x00\x00\x00\x00\x02\x08\x01"
	for name, test := range map[string]struct {
		serve func(*http2.Framer)
		want  Outcome
	}{
		"serves": {answer(serving, "grpc-status", "0"), Outcome{Kind: Good}},
		"in two pieces": {func(f *http2.Framer) {
			_ = f.WriteData(1, false, []byte(serving[:3]))
			answer(serving[3:], "grpc-status", "0")(f)
		}, Outcome{Kind: Good}},
		"says so in headers": {func(f *http2.Framer) {
			field(f, true, ":status", "200", "grpc-status", "14", "grpc-message", "no%20disk%0a%zz")
		}, Outcome{Kind: Bad, Reason: "its health service answers Unavailable", Output: "no%20disk%0a%zz"}},
		"escapes its message": {func(f *http2.Framer) {
			field(f, true, ":status", "200", "grpc-status", "7", "grpc-message", "a%20b%1b")
		}, Outcome{Kind: Bad, Reason: "its health service answers PermissionDenied", Output: `a b\x1b`}},
		"unknown code":    {func(f *http2.Framer) { field(f, true, ":status", "200", "grpc-status", "99") }, Outcome{Kind: Bad, Reason: "its health service answers Code(99)"}},
		"no gRPC":         {func(f *http2.Framer) { field(f, true, ":status", "404") }, Outcome{Kind: Bad, Reason: "it answers status 404 and does not speak gRPC"}},
		"no number":       {answer(serving, "grpc-status", "ok"), Outcome{Kind: Bad, Reason: `its gRPC status "ok" is no number`}},
		"half a message":  {answer(serving[:6], "grpc-status", "0"), Outcome{Kind: Bad, Reason: "it answers 6 bytes that are not one message of gRPC"}},
		"compressed":      {answer("\x01"+serving[1:], "grpc-status", "0"), Outcome{Kind: Bad, Reason: "it answers 7 bytes that are not one message of gRPC"}},
		"another message": {answer("\x00\x00\x00\x00\x01\xff", "grpc-status", "0"), Outcome{Kind: Bad, Reason: "its health service answers something else"}},
		"too long":        {answer(strings.Repeat("x", 8000), "grpc-status", "0"), Outcome{Kind: Bad, Reason: "its answer is longer than 4096 bytes"}},
		"long headers":    {func(f *http2.Framer) { field(f, true, slices.Repeat([]string{"x", strings.Repeat("x", 500)}, 40)...) }, Outcome{Kind: Bad, Reason: "its headers are longer than 16384 bytes"}},
		"never ends": {func(f *http2.Framer) {
			for f.WritePing(false, [8]byte{}) == nil {
			}
		}, Outcome{Kind: Bad, Reason: "its answer is longer than 65536 bytes"}},
		"resets the call": {func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }, Outcome{Kind: Bad, Reason: "it resets the call: REFUSED_STREAM"}},
		"goes away":       {func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }, Outcome{Kind: Bad, Reason: "it takes no calls: ENHANCE_YOUR_CALM"}},
		"hangs up":        {func(*http2.Framer) {}, Outcome{Kind: Bad, Reason: "it closes the connection without an answer"}},
		"answers another": {func(f *http2.Framer) { _ = f.WriteData(3, true, []byte(serving)) }, Outcome{Kind: Bad, Reason: "it closes the connection without an answer"}},
	} {
		a := peer(t, func(conn net.Conn) {
			in := http2.NewFramer(conn, conn)
			_, _ = io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
			for {
				frame, err := in.ReadFrame()
				if err != nil {
					return
				}
				if d, ok := frame.(*http2.DataFrame); ok && d.StreamEnded() {
					break
				}
			}
			_ = in.WriteSettings()
			test.serve(in)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		})
		o := probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{}, Timeout: patient})
		if test.want.Output == "" {
			o.Output = ""
		}
		require.Equal(t, test.want, o, name)
	}
}

// A service name as long as may be is asked in frames that every server takes.
func TestProbeGRPCSaysWhatItAsks(t *testing.T) {
	t.Parallel()
	asked := make(chan *http.Request, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		asked <- r
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
		w.Header().Set("Grpc-Status", "0")
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	a := address(t, s)
	require.Equal(t, Outcome{Kind: Good}, probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{Service: "shop", TLS: &cluster.CheckTLS{Name: "shop.example"}}, Timeout: patient}))
	r := <-asked
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x06\x0a\x04shop", string(body))
	require.Equal(t, []string{"POST", "/grpc.health.v1.Health/Check", "shop.example", "application/grpc", "trailers", "weir-check"},
		[]string{r.Method, r.URL.Path, r.Host, r.Header.Get("Content-Type"), r.Header.Get("Te"), r.UserAgent()})
	o := probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{TLS: &cluster.CheckTLS{Verify: true}}, Timeout: patient})
	require.Equal(t, Bad, o.Kind)
	require.Contains(t, o.Reason, "certificate")

	plain := httptest.NewUnstartedServer(http.NotFoundHandler())
	plain.Config.ErrorLog = quiet()
	plain.StartTLS()
	o = probed(t, address(t, plain), cluster.Check{GRPC: &cluster.GRPCCheck{TLS: &cluster.CheckTLS{}}, Timeout: patient})
	require.Equal(t, Bad, o.Kind, "TLS without HTTP/2")
}

// FuzzHear reads what any peer may send: it ends, and what it returns is one call or an error.
func FuzzHear(f *testing.F) {
	var out bytes.Buffer
	framer := http2.NewFramer(&out, nil)
	_ = framer.WriteSettings()
	_ = framer.WriteData(1, false, []byte{0, 0, 0, 0, 2, 8, 1})
	f.Add(out.Bytes())
	f.Add(callText("http", "a", "/b", nil)[len(http2.ClientPreface):])
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := hearFrames(bytes.NewReader(data), io.Discard)
		if err == nil {
			require.LessOrEqual(t, len(c.message), maxHealthAnswer)
			c.judge(&cluster.GRPCCheck{})
		}
	})
}
