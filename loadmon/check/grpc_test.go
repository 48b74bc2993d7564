package check

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	ask := func(name string) Outcome { return probed(t, a, cluster.Check{GRPC: &cluster.GRPCCheck{Service: name}}) }
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
	check := cluster.Check{GRPC: &cluster.GRPCCheck{}, Timeout: soon}
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
		o := probed(t, peer(t, serve), check)
		require.Equal(t, Bad, o.Kind, name)
		require.Equal(t, line(o.Reason+o.Output), o.Reason+o.Output, name)
	}
}
