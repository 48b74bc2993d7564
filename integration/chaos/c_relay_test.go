package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/weir-lb/weir/integration"
)

// relay stands between an agent and etcd. It passes every message on as it is, but can leave out the events of watches:
// the stream stays open, and nobody says that something is missing.
type relay struct {
	etcd *grpc.ClientConn
	mute atomic.Bool  // events are left out
	lost atomic.Int64 // messages with events that were
}

// relay is put between an agent that is not started yet and its etcd.
func (r *run) relay(w *integration.World, a *integration.Agent) *relay {
	r.Helper()
	conn, err := grpc.NewClient(w.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	require.NoError(r, err)
	out := &relay{etcd: conn}
	socket := filepath.Join(w.Dir, "relay-"+a.Name)
	l, err := net.Listen("unix", socket)
	require.NoError(r, err)
	server := grpc.NewServer(grpc.ForceServerCodec(verbatim{}), grpc.UnknownServiceHandler(out.pass))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	r.Cleanup(func() {
		server.Stop()
		require.NoError(r, errors.Join(<-ended, conn.Close()))
	})
	reach(w, a, "--etcd", "unix://"+socket)
	return out
}

// pass carries one call, whatever its method, until etcd ends it.
func (p *relay) pass(_ any, agent grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(agent)
	said, _ := metadata.FromIncomingContext(agent.Context())
	ctx, end := context.WithCancel(metadata.NewOutgoingContext(agent.Context(), said))
	defer end()
	server, err := p.etcd.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodec(verbatim{}))
	if err != nil {
		return err
	}
	go func() {
		for {
			var m message
			if agent.RecvMsg(&m) != nil || server.SendMsg(&m) != nil {
				_ = server.CloseSend() // why it ended is what server.RecvMsg says
				return
			}
		}
	}()
	for {
		var m message
		if err := server.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.mute.Load() && strings.HasSuffix(method, "/Watch") && m.events() {
			p.lost.Add(1)
			continue
		}
		if err := agent.SendMsg(&m); err != nil {
			return err
		}
	}
}

// message is one of gRPC's, as it came.
type message []byte

// events tells whether an answer to a watch has any.
func (m message) events() bool {
	var answer pb.WatchResponse
	err := encoding.GetCodecV2(proto.Name).Unmarshal(mem.BufferSlice{mem.SliceBuffer(m)}, &answer)
	return err == nil && len(answer.Events) > 0
}

// verbatim is a codec that leaves messages as they are.
type verbatim struct{}

func (verbatim) Name() string                    { return proto.Name }
func (verbatim) Marshal(m any) ([]byte, error)   { return *m.(*message), nil }
func (verbatim) Unmarshal(b []byte, m any) error { *m.(*message) = slices.Clone(b); return nil }
