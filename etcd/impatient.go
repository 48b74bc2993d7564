package etcd

import (
	"context"

	"google.golang.org/grpc"
)

// impatient lets a request fail with the reason when the member cannot be connected to. The client's own default is to
// wait in silence until the deadline, which then hides a refused connection or a wrong certificate.
func impatient() []grpc.DialOption {
	unary := func(ctx context.Context, method string, request, reply any, c *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
		return call(ctx, method, request, reply, c, append(o, grpc.WaitForReady(false))...)
	}
	stream := func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, call grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
		return call(ctx, d, c, method, append(o, grpc.WaitForReady(false))...)
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}
