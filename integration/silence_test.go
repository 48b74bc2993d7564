package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// TestNothingIsStoppedBySilence takes away what says that instances should run: by hand, by a value that nobody can read while
// another leader begins, and with the whole store. They run on, and serve again once their services are published; only who
// withdraws a service ends them.
func TestNothingIsStoppedBySilence(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2, AgentArgs: LoadsForAll})
	w.StartLaunchers()
	w.StartControlCenters(1)
	leader := w.ControlCenters[0]
	services := map[string]*cluster.Service{}
	for name, n := range map[string]int{"a": 3, "b": 3} {
		services[name] = w.Launched(name, w.Frontend(cluster.TCP, false), func(s *cluster.Service) { s.Replicas = &n })
		w.Publish(services[name])
		w.AwaitServing(name, n, 20*time.Second)
	}
	pids := map[int]string{}
	w.Eventually(10*time.Second, "all are told of", func() bool {
		ops, err := w.Store.Operations(t.Context())
		require.NoError(t, err)
		for _, launched := range ops.Launched {
			for id, l := range launched {
				if l.PID != 0 {
					pids[l.PID] = id
				}
			}
		}
		return len(pids) == 6
	})
	running := func() (n int) {
		for pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				n++
			}
		}
		return n
	}
	// Long enough for a leader to decide several times: it says what it does not do.
	orphaned := func(service string) {
		w.Eventually(20*time.Second, "the leader says so", func() bool {
			code, page := leader.Get("/debug/state")
			return code == http.StatusOK && strings.Contains(page, "service "+service) && strings.Contains(page, "nobody withdrew it")
		})
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			require.Equal(t, 6, running())
		}
	}
	client, err := w.Store.Client()
	require.NoError(t, err)
	_, err = client.Delete(t.Context(), w.Store.Prefix()+"net/services/", clientv3.WithPrefix())
	require.NoError(t, err)
	orphaned("a")
	w.Write(services["a"], services["b"])
	w.AwaitServing("a", 3, 20*time.Second)
	w.AwaitServing("b", 3, 20*time.Second)

	w.Put("net/services/a", "{")
	leader.Kill()
	leader.Start()
	w.AwaitLeader(20 * time.Second)
	orphaned("a")

	w.StopEtcd()
	require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "etcd", "data")))
	w.StartEtcd()
	w.AwaitLeader(30 * time.Second)
	w.Write(services["b"]) // the store says that it is one of ours again, and has only this
	w.AwaitServing("b", 3, 30*time.Second)
	require.Equal(t, 6, running())
	leader.Kill() // one that remembers the store as it was holds everything; the next one does not
	leader.Start()
	w.AwaitLeader(30 * time.Second)
	orphaned("a")
	w.Write(services["a"])
	w.AwaitServing("a", 3, 30*time.Second)
	require.Equal(t, 6, running(), "none was started anew")

	w.Weir("controlcenter", "withdraw", "a", "--no-wait")
	w.Eventually(60*time.Second, "those of a are gone", func() bool { return running() == 3 })
	w.AwaitServing("b", 3, time.Second)
}
