package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
)

// TestPortsAreClaimedOnce has a thousand instances created on one node in parallel, by a leader and by one who was it until a
// moment ago, each at two ports that others try as well. Whatever is written, no port has two instances, an instance has
// both its ports or does not exist, and the former leader has written nothing.
func TestPortsAreClaimedOnce(t *testing.T) {
	t.Parallel()
	const creations, first, size = 1000, 20000, 1500
	server := server(t)
	old, fresh := open(t, server.Endpoint()), open(t, server.Endpoint())
	reigns, resign := stand(t, old, "cc1", time.Minute)
	before := next(t, "cc1", reigns)
	resign()
	reigns, _ = stand(t, fresh, "cc2", time.Minute)
	now := next(t, "cc2", reigns)

	var refused atomic.Int32
	create := func(ctx context.Context, l reign, name string, i int) error {
		draw := rand.New(rand.NewPCG(uint64(i), 1))
		a := first + draw.IntN(size)
		ports := []uint16{uint16(a), uint16(first + (a-first+1+draw.IntN(size-1))%size)}
		assigned := assignment("a", ports[0])
		assigned.Ports["admin"] = ports[1]
		_, err := l.Write(ctx, cluster.Assign{Node: "n1", ID: fmt.Sprintf("%s-%d", name, i), Assignment: assigned, Claims: ports})
		if errors.Is(err, cluster.ErrNotLeading) {
			refused.Add(1)
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for i := range creations {
		g.Go(func() error { return create(ctx, now, "new", i) })
		g.Go(func() error { return create(ctx, before, "old", i) })
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, creations, refused.Load())

	var once sync.Once
	told := make(chan *cluster.Operations, 1)
	during(t, func(ctx context.Context) error {
		return fresh.WatchOperations(ctx, func(o *cluster.Operations) { once.Do(func() { told <- o }) })
	})
	operations := <-told
	owner := map[uint16]string{}
	for id, a := range operations.Assigned["n1"] {
		require.Contains(t, id, "new-")
		for _, port := range a.Ports {
			require.Empty(t, owner[port], "port %d is given to %s and %s", port, id, owner[port])
			owner[port] = id
			require.Equal(t, id, operations.Ports["n1"][port].ID)
		}
	}
	require.Len(t, operations.Ports["n1"], len(owner), "no claim without an instance")
	require.Greater(t, len(owner), size/3)
	require.Less(t, len(operations.Assigned["n1"]), creations, "some wanted the same ports")
	t.Logf("%d instances of %d got their ports, %d ports of %d", len(operations.Assigned["n1"]), creations, len(owner), size)
}
