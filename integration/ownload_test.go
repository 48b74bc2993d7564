package integration

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// An instance that tells its own load: an agent that speaks as HAProxy's do. Its percentage is in its node's report; its
// words take it out of the rules and bring it back.
func TestAgentCheck(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2, AgentArgs: []string{"--load-listen", ":9647", "--insecure-etcd"}})
	w.Put("ops/secret", `{"token":"`+monitorToken+`"}`)
	f := w.Frontend(cluster.TCP, false)
	one, _ := w.Serve(w.Nodes[0], 80, false)
	two, _ := w.Serve(w.Nodes[1], 80, false)
	var says atomic.Value
	says.Store("50% drain # moving house\n")
	l, err := w.Nodes[0].Listen("tcp", w.Nodes[0].Addr4.String()+":7777")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if from := conn.RemoteAddr().(*net.TCPAddr).IP.String(); from != w.Nodes[0].Addr4.String() {
				t.Errorf("%s asks, which is not its own node", from)
			}
			_, _ = io.WriteString(conn, says.Load().(string))
			conn.Close()
		}
	}()
	service := Service("a", f, one, two)
	service.Load = &cluster.LoadSource{Agent: 7777}
	w.Publish(service)
	n1, asks := w.node("n1"), w.monitors(monitorToken)
	w.Eventually(20*time.Second, "its wish is reported", func() bool {
		report, problems, err := asks.Loads(t.Context(), "n1", n1)
		require.NoError(t, err)
		require.Empty(t, problems)
		return len(report.Loads) == 1 && report.Loads[0].Wish != nil && *report.Loads[0].Wish == 0.5
	})
	state := func() cluster.State {
		snapshot, err := w.Store.Snapshot(t.Context())
		require.NoError(t, err)
		in, _ := snapshot.Services.Get("a")
		for _, s := range cluster.Resolve(in).Instances {
			if s.Instance.ID == one {
				return s
			}
		}
		return cluster.State{}
	}
	w.Eventually(10*time.Second, "it is taken out", func() bool { return !state().Takes() })
	require.Contains(t, state().Reason, "it asks for no new connections itself")
	says.Store("ready\n")
	w.Eventually(30*time.Second, "it is back", func() bool { return state().Takes() })
	says.Store("0%\n")
	w.Eventually(30*time.Second, "0 % is no connection", func() bool { return !state().Takes() })
	require.Equal(t, "it wishes 0 % of its weight itself", state().Reason)
	says.Store("1%\n")
	w.Eventually(30*time.Second, "1 % is some", func() bool { return state().Takes() })
}
