package etcd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd/embedded"
)

func TestFullEtcdIsReadOnlyAndSaysSo(t *testing.T) {
	t.Parallel()
	e, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, QuotaBytes: 4 << 20})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	s := open(t, e.Endpoint())
	publish(t, s, svc("a", 1))
	w := watch(t, s, WatchOptions{})
	w.until(t, "a", has("a"))
	fill(t, raw(t, s))
	_, err = s.Commit(t.Context(), cluster.Publish{Service: svc("b", 2)})
	require.ErrorIs(t, err, ErrFull)
	require.ErrorContains(t, err, "etcdctl alarm disarm")
	_, err = s.Snapshot(t.Context())
	require.NoError(t, err)
	require.True(t, s.Status().Connected)
}

// fill writes until etcd takes no more.
func fill(t *testing.T, c *clientv3.Client) {
	t.Helper()
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 100)
		_, err = c.Put(t.Context(), fmt.Sprint("/filler/", i), strings.Repeat("x", 512<<10))
	}
}
