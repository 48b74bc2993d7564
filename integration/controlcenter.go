package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// ControlCenter is one that stands for election, as a process.
type ControlCenter struct{ *Daemon }

// NewControlCenter prepares a control center that runs on a host of the cluster, from where it asks the load monitors;
// Start starts it.
func (w *World) NewControlCenter(name string, host *lab.Host) *ControlCenter {
	pages := fmt.Sprintf("127.0.0.1:%d", 9700+len(w.ControlCenters)) // several may share a host
	c := &ControlCenter{w.daemon("control center", name, host, pages)}
	c.Args = []string{"controlcenter", "serve", "--name", name, "--etcd", w.Endpoint(), "--insecure-etcd", "--listen", pages} // of the lab alone, too
	return c
}

// StartControlCenters starts so many on the client's host, which is no node, and returns once one of them leads.
func (w *World) StartControlCenters(n int) {
	w.t.Helper()
	for range n {
		c := w.NewControlCenter(fmt.Sprintf("cc%d", len(w.ControlCenters)+1), w.Client)
		w.ControlCenters = append(w.ControlCenters, c)
		w.t.Cleanup(c.finish)
		c.Start()
	}
	w.AwaitLeader(20 * time.Second)
}

// AwaitLeader waits until a control center leads that runs, and returns it.
func (w *World) AwaitLeader(within time.Duration) (leader *ControlCenter) {
	w.t.Helper()
	w.Eventually(within, "a control center leads", func() bool {
		for _, c := range w.ControlCenters {
			if !c.Ended() && c.Leads() {
				leader = c
			}
		}
		return leader != nil
	})
	return leader
}

// Leads says whether it leads; one that does not answer does not.
func (c *ControlCenter) Leads() bool { return c.state().Leading }

// Paused says whether it knows that nothing is to be decided.
func (c *ControlCenter) Paused() bool { return c.state().Paused }

func (c *ControlCenter) state() (page struct{ Leading, Paused bool }) {
	if code, body := c.Get("/debug/leader"); code == http.StatusOK {
		require.NoError(c.w.t, json.Unmarshal([]byte(body), &page), body)
	}
	return page
}
