package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestWipedWhileTheAgentRestarts takes etcd's data away, and the rules, while no agent runs. The next agent goes on from its
// file and holds the loss back, until somebody says that it is meant.
func TestWipedWhileTheAgentRestarts(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Owner: "off"})
	a, f, instances := w.Agents[0], w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
	w.Publish(Service("a", f, instances...))
	a.Stop()
	w.StopEtcd()
	require.NoError(t, os.RemoveAll(filepath.Join(w.Dir, "etcd", "data")))
	w.StartEtcd()
	w.Unrule(w.Nodes[0])
	a.Start()
	a.AwaitReady(10 * time.Second)
	w.Only(w.Nodes[0], f, instances...)
	w.Only(w.Client, f, instances...)
	code, body := a.Get("/debug/problems")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "it was wiped or restored to an older state")
	w.Told("n1", 30*time.Second, func(a cluster.Applied) bool { return a.Held != nil && a.Held.Deleted == 1 })
	require.Contains(t, w.Weir("guard"), "the list has no net/ready")

	a.Kill() // what is held is held over the next restart, too
	a.Start()
	a.AwaitReady(10 * time.Second)
	w.Only(w.Client, f, instances...)
	w.Told("n1", 30*time.Second, func(a cluster.Applied) bool { return a.Held != nil })

	a.Stop()
	a.Args = append(a.Args, "--accept-rollback")
	other := w.Frontend(cluster.TCP, false)
	w.Write(Service("b", other, instances...))
	a.Start()
	a.AwaitReady(10 * time.Second)
	w.Only(w.Client, other, instances...)
	require.Len(t, w.Slots(w.Nodes[0]), 1, "the lost one is let go")
}
