package integration

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// Agent is the agent of one node, as a process.
type Agent struct {
	*Daemon
	StateDir string
}

// LoadsForAll has agents tell their loads to whoever reaches their node. The network is that of the lab alone.
var LoadsForAll = []string{"--load-listen", ":9647", "--insecure-etcd"}

// NewAgent prepares an agent; Start starts it.
func (w *World) NewAgent(name string, host *lab.Host) *Agent {
	a := &Agent{Daemon: w.daemon("agent", name, host, "127.0.0.1:9646"), StateDir: filepath.Join(w.Dir, name)}
	require.NoError(w.t, os.MkdirAll(a.StateDir, 0o700))
	a.Args = append([]string{"agent", "--node", name, "--etcd", w.Endpoint(), "--state-dir", a.StateDir, "--table-owner", w.o.Owner}, w.o.AgentArgs...)
	a.UseDriver(w.o.Driver)
	return a
}

// UseDriver has the next start work with a driver, in the words of Options.Driver.
func (a *Agent) UseDriver(driver string) {
	if driver == "" {
		return
	}
	name, iptables, _ := strings.Cut(driver, "-")
	a.Args = append(a.Args, "--driver", name, "--iptables", cmp.Or(iptables, "auto")) // the last of a flag counts
}
