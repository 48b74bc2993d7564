package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/weir-lb/weir/cluster"
)

// probeGRPC asks the standard health service once, on a connection of its own. The library's client is not used: what it keeps
// ready for many calls, it makes and ends for this single one (decision 056).
func probeGRPC(ctx context.Context, t task) Outcome {
	plain, end, err := dial(ctx, t.address)
	if err != nil {
		return failed(ctx, err, t.timeout())
	}
	defer end()
	conn, err := speak(ctx, plain, t)
	if err == nil {
		_, err = conn.Write(t.ask())
	}
	if err != nil {
		return unanswered(ctx, t, err)
	}
	return hearHealth(ctx, t, conn, conn)
}

// hearHealth reads the answer.
func hearHealth(ctx context.Context, t task, from io.Reader, to io.Writer) Outcome {
	c, err := hearCall(from, to)
	if err != nil {
		return unanswered(ctx, t, err)
	}
	return c.judge(t.check.GRPC)
}

// unanswered judges the error of a call.
func unanswered(ctx context.Context, t task, err error) Outcome {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Outcome{Kind: Bad, Reason: "it closes the connection without an answer"}
	}
	if strings.Contains(err.Error(), "looked like an HTTP/1.1 header") { // so says the library, after what no operator needs
		return Outcome{Kind: Bad, Reason: "it speaks HTTP/1.1, and gRPC needs HTTP/2"}
	}
	return failed(ctx, err, t.timeout())
}

// speak makes the connection one of HTTP/2.
func speak(ctx context.Context, plain net.Conn, t task) (net.Conn, error) {
	s := t.check.GRPC.TLS
	if s == nil {
		return plain, nil
	}
	secure := tls.Client(plain, tlsConfig(s, t.address.Addr(), "h2"))
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.New("its TLS does not offer HTTP/2 (ALPN h2)")
	}
	return secure, nil
}

// healthQuestion is all that the client says in a call.
func healthQuestion(t task) []byte {
	message, _ := proto.Marshal(&healthpb.HealthCheckRequest{Service: t.check.GRPC.Service}) // it fails only for what is no UTF-8, which no service file holds
	host, scheme := t.address.String(), "http"
	if s := t.check.GRPC.TLS; s != nil {
		host, scheme = tlsConfig(s, t.address.Addr(), "h2").ServerName, "https"
	}
	return callText(scheme, host, healthpb.Health_Check_FullMethodName, message)
}

// judge says what the answer of a health service amounts to.
func (c call) judge(asked *cluster.GRPCCheck) Outcome {
	switch c.code {
	case codes.OK:
	case codes.Unimplemented:
		return Outcome{Kind: Bad, Reason: "it has no health service", Output: line(c.text)}
	case codes.NotFound:
		return Outcome{Kind: Bad, Reason: line(fmt.Sprintf("its health service does not know %q", asked.Service)), Output: line(c.text)}
	default:
		return Outcome{Kind: Bad, Reason: "its health service answers " + c.code.String(), Output: line(c.text)}
	}
	var answer healthpb.HealthCheckResponse
	switch err := proto.Unmarshal(c.message, &answer); {
	case err != nil:
		return Outcome{Kind: Bad, Reason: "its health service answers something else", Output: line(err.Error())}
	case answer.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return Outcome{Kind: Bad, Reason: "it says " + answer.GetStatus().String()}
	}
	return Outcome{Kind: Good}
}
