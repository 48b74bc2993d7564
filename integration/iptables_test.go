package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/stats"
)

var iptables = []string{"ipt-nft", "ipt-legacy"}

// TestIptables runs tests of this package with agents that write iptables rules.
func TestIptables(t *testing.T) {
	for _, variant := range iptables {
		t.Run(variant, func(t *testing.T) {
			t.Run("traffic", TestTraffic)
			t.Run("refusal", TestRefusal)
			t.Run("sources", TestSources)
			t.Run("ping", TestPing)
			t.Run("local counters", TestLocalCounters)
			if variant == iptables[0] { // what the two variants cannot do otherwise, one of them shows
				t.Run("drain", TestDrain)
				t.Run("kill flows", TestKillFlows)
				t.Run("flows without rules", TestUDPFlowWithoutRules)
				t.Run("own VIP", TestOwnVIP)
				t.Run("client address", TestClientAddress)
				t.Run("address of the node", TestNodeChangesItsAddress)
			}
			t.Run("spread", testSpreadWeighted)
			t.Run("restart", testAdoption)
			t.Run("repair", testForeignFlush)
		})
	}
}

// testSpreadWeighted opens connections to weighted instances, and scales the service meanwhile down to none and back.
func testSpreadWeighted(t *testing.T) {
	t.Parallel()
	const connections = 6000
	w := world(t, Options{})
	instances := w.ServeAll(3, false)
	f := w.Frontend(cluster.TCP, false)
	w.Publish(Service("a", f, instances[0]+"*5", instances[1]+"*3", instances[2]+"*2"))
	met := w.meet(w.Client, f, connections)
	require.Greater(t, stats.ChiSquareP(met, map[string]int{instances[0]: 5, instances[1]: 3, instances[2]: 2}), alpha, "%v", met)
	w.Publish(Service("a", f, instances...))
	met = w.meet(w.Nodes[0], f, connections)
	require.Greater(t, stats.ChiSquareP(met, map[string]int{instances[0]: 1, instances[1]: 1, instances[2]: 1}), alpha, "%v", met)
	w.Publish(Service("a", f))
	for _, from := range []*lab.Host{w.Client, w.Nodes[0]} {
		r, err := lab.Flood(t.Context(), from.Namespace, Load(f, 20))
		require.NoError(t, err)
		require.Equal(t, 20, r.Failures["refused"], "%s: %s", from.Name(), r)
	}
	w.Publish(Service("a", f, instances[2]))
	w.Only(w.Client, f, instances[2])
}

// testAdoption kills an agent under load; the next one has nothing to write.
func testAdoption(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	o, a := w.watch(), w.Agents[0]
	a.Kill()
	o.more(100)
	a.Start()
	a.AwaitReady(10 * time.Second)
	a.AwaitLog("driver=ipt", 10*time.Second)
	require.Zero(t, a.Metric("weir_agent_writes_total"))
	o.more(100)
	o.unharmed()
}

// testForeignFlush has somebody else flush the tables, as the reload of a firewall does.
func testForeignFlush(t *testing.T) {
	w := world(t, Options{})
	instances := w.ServeAll(3, false)
	f := w.Frontend(cluster.TCP, false)
	w.Publish(Service("a", f, instances...))
	a := w.Agents[0]
	for _, command := range []string{"-t nat -F", "-F", "-t nat -D PREROUTING -j WEIR-SERVICES", "-t nat -F WEIR-NO-ENDPOINT"} {
		before := a.Metric("weir_agent_repairs_total")
		out, err := w.Nodes[0].Output("iptables-"+strings.TrimPrefix(w.o.Driver, "ipt-"), append([]string{"-w", "5"}, strings.Fields(command)...)...) // one lock for all namespaces
		require.NoError(t, err, "%s", out)
		took := w.Eventually(2*time.Second+promised, command+" is repaired", func() bool { return a.Metric("weir_agent_repairs_total") > before })
		t.Logf("%s: repaired within %s", command, took.Round(time.Millisecond))
		w.Only(w.Client, f, instances...)
		w.Only(w.Nodes[0], f, instances...)
	}
}

// TestChangeOfDriver changes what writes the rules, under load, all the way round. Nothing is lost, and nothing of the
// driver before is left.
func TestChangeOfDriver(t *testing.T) {
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			w := world(t, Options{Owner: owner, Driver: "nft"})
			o, a := w.watch(), w.Agents[0]
			before := "nft"
			for _, next := range []string{"ipt-nft", "ipt-legacy", "nft", "ipt-legacy", "ipt-nft", "nft"} {
				o.more(50)
				a.Stop()
				a.UseDriver(next)
				a.Start()
				a.AwaitReady(10 * time.Second)
				w.Eventually(5*time.Second, "nothing of "+before+" is left after "+next, func() bool { return !w.holds(w.Nodes[0], before) })
				require.True(t, w.holds(w.Nodes[0], next), next)
				o.more(50)
				before = next
			}
			o.unharmed()
		})
	}
}

// holds says whether a node has anything of a driver.
func (w *World) holds(node *lab.Host, driver string) bool {
	w.t.Helper()
	if driver == "nft" {
		out, err := node.Output("nft", "list", "tables")
		require.NoError(w.t, err)
		return strings.Contains(string(out), " weir\n")
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		out, err := node.Output(program + "-" + strings.TrimPrefix(driver, "ipt-") + "-save")
		require.NoError(w.t, err)
		if strings.Contains(string(out), "WEIR-") {
			return true
		}
	}
	return false
}

// TestNoIptables starts an agent on a host without iptables, and installs it later. Until then the agent says what it
// lacks, costs next to nothing, and tries again.
func TestNoIptables(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Idle: true, Program: plain}) // processor time is measured
	a, path := w.Agents[0], t.TempDir()
	instances := w.ServeAll(3, false)
	f := w.Frontend(cluster.TCP, false)
	w.Write(Service("a", f, instances...))
	a.UseDriver("ipt")
	a.Env = []string{"PATH=" + path}
	a.Start()
	w.Eventually(10*time.Second, "the agent says what it lacks", func() bool {
		code, body := a.Get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "install the package iptables")
	})
	before, start := a.CPU(), time.Now()
	<-time.After(2 * time.Second) // what is measured
	require.Less(t, float64(a.CPU()-before)/float64(time.Since(start)), 0.05)
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			real, err := exec.LookPath(program + suffix)
			require.NoError(t, err)
			require.NoError(t, os.Symlink(real, filepath.Join(path, program+suffix)))
		}
	}
	a.AwaitReady(40 * time.Second)
	w.Only(w.Client, f, instances...)
	w.Only(w.Nodes[0], f, instances...)
}
