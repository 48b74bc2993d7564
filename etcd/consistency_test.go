package etcd

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Each of so many transactions is written while somebody lists, follows, or comes back after its member went away.
const transactions, absences = 10_000, 12

// Each transaction writes the same number into a service, an instance and a weight. A snapshot in which they differ
// would be a mix of two of them.
func TestNoSnapshotMixesTransactions(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	first, err := raw(t, s).Get(t.Context(), "x")
	require.NoError(t, err)
	var mixed, delivered atomic.Int64
	var watchers []*watched
	follow := func(w *watched) { watchers = append(watchers, w) }
	check := func(s *cluster.Snapshot) {
		delivered.Add(1)
		if in, ok := s.Services.Get("a"); ok && !whole(in) {
			mixed.Add(1)
			t.Errorf("mixed at %d: %+v %+v %+v", s.Revision, in.Service, in.Registered, in.Weights)
		}
	}
	restless := open(t, s.config.Endpoints...)
	follow(watchChecked(t, restless, check))
	follow(watchChecked(t, open(t, s.config.Endpoints...), check))
	begin := time.Now()
	for n := 1; n <= transactions; n++ {
		write(t, s, n)
		if n == transactions/2 { // one that joins in the middle
			follow(watchChecked(t, open(t, s.config.Endpoints...), check))
		}
		if n%(transactions/absences) == 0 {
			l, err := restless.members.link()
			require.NoError(t, err)
			restless.members.turn(l)
		}
	}
	t.Logf("%d transactions in %s", transactions, time.Since(begin).Round(time.Millisecond))
	// History in one gulp, larger than what etcd would send in one fragment.
	history := 0
	for r := range raw(t, s).Watch(t.Context(), s.prefix+netKeys, clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision+1)) {
		require.NoError(t, r.Err())
		require.Zero(t, len(r.Events)%3, "etcd cuts between revisions")
		if history += len(r.Events); history == 3*transactions {
			break
		}
	}
	for _, w := range watchers {
		w.until(t, "the last transaction", func(s *cluster.Snapshot) bool { return number(s) == transactions })
	}
	require.Zero(t, mixed.Load())
	t.Logf("%d snapshots delivered", delivered.Load())
}

func watchChecked(t *testing.T, s *Store, check func(*cluster.Snapshot)) *watched {
	t.Helper()
	w := &watched{more: make(chan struct{}, 1)}
	w.run(t, s, WatchOptions{}, func(s *cluster.Snapshot) { check(s); w.deliver(s) })
	return w
}

// write is one transaction over three kinds of keys, with values large enough that history does not fit one message.
func write(t *testing.T, s *Store, n int) {
	t.Helper()
	service := svc("a", 1)
	service.Instances[0].Labels = map[string]string{"n": strconv.Itoa(n), "pad": strings.Repeat("x", 500)}
	instance, err := cluster.ParseInstance("192.168.7.7:80")
	require.NoError(t, err)
	instance.Labels = map[string]string{"n": strconv.Itoa(n)}
	var puts []clientv3.Op
	for key, v := range map[string]any{
		"net/services/a": service, "net/instances/n1/a/i": instance, "net/weights/a": cluster.Weights{Share: map[string]int{"i": n}},
	} {
		value, err := encode(v)
		require.NoError(t, err)
		puts = append(puts, clientv3.OpPut(s.prefix+key, string(value)))
	}
	_, err = raw(t, s).Txn(t.Context()).Then(puts...).Commit()
	require.NoError(t, err)
}

func whole(in *cluster.Inputs) bool {
	if in.Weights == nil {
		return len(in.Registered) == 0
	}
	n := strconv.Itoa(in.Weights.Share["i"])
	return len(in.Registered) == 1 && in.Registered[0].Labels["n"] == n && in.Service.Instances[0].Labels["n"] == n
}

func number(s *cluster.Snapshot) int {
	if in, ok := s.Services.Get("a"); ok && in.Weights != nil {
		return in.Weights.Share["i"]
	}
	return 0
}

func TestListsAreReadAtOneRevision(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	c := raw(t, s)
	for i := 0; i < 2500; i += 100 { // three pages
		var puts []clientv3.Op
		for j := range 100 {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%snet/instances/n%d/zz/i%04d", s.prefix, j, i), `{"address":"192.168.0.1:80"}`))
		}
		_, err := c.Txn(t.Context()).Then(puts...).Commit()
		require.NoError(t, err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				write(t, s, n)
			}
		}
	}()
	for range 10 {
		snapshot, err := s.Snapshot(t.Context())
		require.NoError(t, err)
		in, _ := snapshot.Services.Get("a")
		require.True(t, whole(in))
	}
	close(stop)
	<-stopped
}
