package etcd

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd/embedded"
)

// tapped is a store whose traffic can be counted, and whose watches can be made to lose events without a word.
type tapped struct {
	*Store
	requests atomic.Int64
	grants   atomic.Int64 // leases that were asked for
	lossy    atomic.Bool
}

func tap(t *testing.T, endpoint string) *tapped {
	t.Helper()
	out := &tapped{Store: open(t, endpoint)}
	out.members.dial = func(endpoint string) (*clientv3.Client, error) {
		unary := func(ctx context.Context, method string, request, reply any, c *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			out.requests.Add(1)
			if strings.HasSuffix(method, "/LeaseGrant") {
				out.grants.Add(1)
			}
			return call(ctx, method, request, reply, c, o...)
		}
		stream := func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, call grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			out.requests.Add(1)
			s, err := call(ctx, d, c, method, o...)
			return &leaking{s, out}, err
		}
		return clientv3.New(clientv3.Config{
			Endpoints: []string{endpoint}, DialTimeout: patience, Logger: zap.NewNop(),
			DialOptions: append(impatient(), grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)),
		})
	}
	return out
}

// leaking is a stream that counts what is sent, and drops the events of watches while it is told to.
type leaking struct {
	grpc.ClientStream
	of *tapped
}

func (l *leaking) SendMsg(m any) error {
	l.of.requests.Add(1)
	return l.ClientStream.SendMsg(m)
}

func (l *leaking) RecvMsg(m any) error {
	for {
		err := l.ClientStream.RecvMsg(m)
		if r, ok := m.(*pb.WatchResponse); err != nil || !ok || len(r.Events) == 0 || !l.of.lossy.Load() {
			return err
		}
	}
}

// An event that never arrives is missed within a check, by the revision of net/barrier.
func TestLostEventsAreMissed(t *testing.T) {
	t.Parallel()
	e := server(t)
	writer, s := open(t, e.Endpoint()), tap(t, e.Endpoint())
	w := watch(t, s.Store, WatchOptions{Probe: 100 * time.Millisecond, Check: 500 * time.Millisecond})
	publish(t, writer, svc("a", 1))
	w.until(t, "a", has("a"))
	require.Zero(t, s.Status().Relists)

	s.lossy.Store(true)
	begin := time.Now()
	publish(t, writer, svc("b", 2))
	w.until(t, "b, though no event told of it", has("b"))
	require.Equal(t, 1, s.Status().Relists)
	t.Logf("found by a list after %s", time.Since(begin).Round(time.Millisecond))
	s.lossy.Store(false)
	publish(t, writer, svc("c", 3))
	w.until(t, "c", has("c"))
	require.Equal(t, 1, s.Status().Relists, "who has seen everything does not list")
}

// While etcd is full it is not asked more than needed.
func TestQuietWhileEtcdIsFull(t *testing.T) {
	t.Parallel()
	e, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, WeakHashes: true, QuotaBytes: 4 << 20})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	s := tap(t, e.Endpoint())
	w := watch(t, s.Store, WatchOptions{})
	publish(t, s.Store, svc("a", 1))
	w.until(t, "a", has("a"))
	fill(t, raw(t, open(t, e.Endpoint())))
	alive(t, s.Store, "n1") // it starts now, and gets no lease
	require.ErrorIs(t, s.Applied(t.Context(), "n1", cluster.Applied{}), ErrFull)
	require.Eventually(t, func() bool { return s.grants.Load() > 5 }, soon, 10*time.Millisecond, "the first attempts follow each other more quickly")
	const seconds = 6
	before := s.requests.Load()
	<-time.After(seconds * time.Second)
	asked := s.requests.Load() - before
	t.Logf("%d requests in %d s", asked, seconds)
	require.LessOrEqual(t, asked, int64(seconds))
	require.True(t, s.Status().Connected)
}
