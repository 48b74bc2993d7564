package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// beats renew a lease, and are a probe of the member on the way. They are our own because the client's keep-alive cannot
// be told how often, and its one-shot form spins while etcd is away.
type beats struct {
	store    *Store
	lease    clientv3.LeaseID
	every    time.Duration
	wait     time.Duration        // for an answer
	answered func(sent time.Time) // from then on the lease has its whole time again
}

// run beats on one stream through one member until that fails or the context ends; it always returns an error.
func (b beats) run(ctx context.Context, l *link) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(b.wait, cancel) // opening a stream waits for the connection
	stream, err := pb.NewLeaseClient(l.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if !late.Stop() {
		return b.silent(l)
	}
	if err != nil {
		return rpctypes.Error(err)
	}
	for {
		sent := time.Now()
		if err := b.ask(stream, l, cancel); err != nil {
			return err
		}
		b.answered(sent)
		sleep(ctx, b.every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// ask sends one beat and waits for its answer; the stream ends when that takes too long.
func (b beats) ask(stream pb.Lease_LeaseKeepAliveClient, l *link, end func()) error {
	late := time.AfterFunc(b.wait, end)
	revision, err := beat(stream, b.lease)
	if !late.Stop() {
		return b.silent(l)
	}
	if revision > 0 {
		b.store.horizon.note(revision)
	}
	return err
}

// beat renews a lease once. The revision is that of an answer; 0: there was none.
func beat(stream pb.Lease_LeaseKeepAliveClient, lease clientv3.LeaseID) (revision int64, err error) {
	err = stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)})
	var answer *pb.LeaseKeepAliveResponse
	if err == nil || errors.Is(err, io.EOF) {
		answer, err = stream.Recv() // after a failed Send this is what tells why
	}
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	if answer.TTL <= 0 {
		err = rpctypes.ErrLeaseNotFound
	}
	return answer.Header.Revision, err
}

func (b beats) silent(l *link) error {
	return fmt.Errorf("no answer from %s in %s: %w", l.endpoint, b.wait, errTurned)
}
