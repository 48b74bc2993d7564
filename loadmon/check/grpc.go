package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	maxHealthAnswer  = 4 << 10
	maxHealthHeaders = 16 << 10
)

// probeGRPC asks the standard health service once. The connection is made here and handed in: so nothing is resolved, no
// proxy is used, and a refused one is known as such.
func probeGRPC(ctx context.Context, t task) Outcome {
	timeout := time.Duration(t.check.Timeout)
	conn, end, err := dial(ctx, t.address)
	if err != nil {
		return failed(ctx, err, timeout)
	}
	defer end()
	client, err := grpc.NewClient("passthrough:///"+t.address.String(), grpcOptions(t, conn)...)
	if err != nil {
		return Outcome{Kind: Unknown, Reason: line(err.Error())}
	}
	defer client.Close()
	answer, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{Service: t.check.GRPC.Service})
	switch {
	case err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING:
		return Outcome{Kind: Good}
	case err == nil:
		return Outcome{Kind: Bad, Reason: "it says " + answer.GetStatus().String()}
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		return failed(ctx, context.DeadlineExceeded, timeout)
	case codes.Unimplemented:
		return Outcome{Kind: Bad, Reason: "it has no health service", Output: line(s.Message())}
	case codes.NotFound:
		return Outcome{Kind: Bad, Reason: line(fmt.Sprintf("its health service does not know %q", t.check.GRPC.Service)), Output: line(s.Message())}
	}
	return Outcome{Kind: Bad, Reason: "its health service answers " + s.Code().String(), Output: line(s.Message())}
}

func grpcOptions(t task, conn net.Conn) []grpc.DialOption {
	security := insecure.NewCredentials()
	if s := t.check.GRPC.TLS; s != nil {
		security = credentials.NewTLS(tlsConfig(s, t.address.Addr(), "h2"))
	}
	var used atomic.Bool
	once := func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the connection was closed")
		}
		return conn, nil
	}
	return []grpc.DialOption{
		grpc.WithContextDialer(once), grpc.WithTransportCredentials(security), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), grpc.WithMaxHeaderListSize(maxHealthHeaders), grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
		grpc.WithUserAgent("weir-check"), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxHealthAnswer)),
	}
}
