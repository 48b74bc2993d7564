package integration

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// promised is what a test gives a machine that is busy with others beyond what was promised.
const promised = 3 * time.Second

// TestDeadProcess kills an instance that nobody checks: two seconds later no node sends it a connection.
func TestDeadProcess(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, AgentArgs: LoadsForAll})
	f := w.Frontend(cluster.TCP, false)
	a, b := w.Hire(w.Nodes[0], lab.Work{}), w.Hire(w.Nodes[1], lab.Work{})
	w.Publish(Workers("a", f, nil, a, b))
	for begin := time.Now(); time.Since(begin) < 2*time.Second; { // its monitor has seen it listen
		w.Only(w.Client, f, a.Address, b.Address)
	}
	require.NoError(t, a.Kill())
	took := w.AwaitTargets(2*time.Second+promised, f, b)
	t.Logf("out on all nodes after %s", took)
	for _, from := range append(w.Nodes, w.Client) {
		w.Only(from, f, b.Address)
	}
	require.Equal(t, cluster.IsDead, w.health("a", a).Status)
	a = w.Rehire(w.Nodes[0], a)
	w.AwaitTargets(10*time.Second, f, a, b)
	w.Only(w.Client, f, a.Address, b.Address)
}

// TestSilentInstances stops instances, which from then on take connections and never answer. One is out after three
// intervals; three of five are not, since those that are left could not do the work of all.
func TestSilentInstances(t *testing.T) {
	t.Parallel()
	const interval, timeout = 500 * time.Millisecond, 250 * time.Millisecond
	w := world(t, Options{Nodes: 2, AgentArgs: LoadsForAll})
	f := w.Frontend(cluster.TCP, false)
	var all []*Worker
	for range 5 {
		all = append(all, w.Hire(w.Nodes[0], lab.Work{}))
	}
	w.Publish(Workers("a", f, &cluster.Check{Interval: cluster.Duration(interval), Timeout: cluster.Duration(timeout)}, all...))
	w.Only(w.Client, f, addresses(all)...)

	frozen := time.Now()
	require.NoError(t, all[0].Freeze())
	w.AwaitTargets(3*interval+timeout+promised, f, all[1:]...)
	took := time.Since(frozen)
	t.Logf("out on all nodes after %s", took)
	require.Greater(t, took, interval*3/2, "it may miss two checks")
	require.Equal(t, cluster.IsFailing, w.health("a", all[0]).Status)
	w.Only(w.Client, f, addresses(all[1:])...)

	require.NoError(t, all[1].Freeze())
	require.NoError(t, all[2].Freeze())
	w.Eventually(3*interval+timeout+promised, "three of five fail", func() bool {
		n := 0
		for _, worker := range all[:3] {
			if w.health("a", worker).Status == cluster.Panic {
				n++
			}
		}
		return n == 3
	})
	w.AwaitTargets(promised, f, all...)

	for _, worker := range all[:3] {
		require.NoError(t, worker.Thaw())
	}
	w.Eventually(10*time.Second, "all are well", func() bool {
		for _, worker := range all {
			if w.health("a", worker).Status != cluster.Serving {
				return false
			}
		}
		return true
	})
	w.AwaitTargets(promised, f, all...) // nodes learn of it a moment after the store
	w.Only(w.Client, f, addresses(all)...)
}

func addresses(workers []*Worker) (all []string) {
	for _, worker := range workers {
		all = append(all, worker.Address)
	}
	return all
}

// TestSilentEtcd freezes etcd under monitors and control centers: nothing that was serving is taken out, neither meanwhile
// nor when etcd goes on.
func TestSilentEtcd(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("etcd")
	require.NoError(t, err, "make packages installs it")
	m := NewMembers(t, MembersOptions{Programs: []string{binary}})
	w := world(t, Options{Nodes: 2, Members: m, AgentArgs: LoadsForAll})
	w.StartControlCenters(1)
	f := w.Frontend(cluster.TCP, false)
	a, b := w.Hire(w.Nodes[0], lab.Work{}), w.Hire(w.Nodes[1], lab.Work{})
	w.Publish(Workers("a", f, &cluster.Check{Interval: cluster.Duration(time.Second)}, a, b))
	m.All[0].Freeze()
	w.stay(8*time.Second, f, a, b)
	m.All[0].Thaw()
	w.AwaitLeader(20 * time.Second)
	w.stay(4*time.Second, f, a, b)
	// They work all the same.
	require.NoError(t, a.Kill())
	w.AwaitTargets(10*time.Second, f, b)
}

// stay requires for a while that each node sends new connections to both workers: one that is taken out is so for as long as
// several checks.
func (w *World) stay(length time.Duration, f cluster.Frontend, a, b *Worker) {
	w.t.Helper()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < length; <-look.C {
		for _, node := range w.Nodes {
			require.Len(w.t, w.Slots(node)[f], 2)
		}
		w.Only(w.Client, f, a.Address, b.Address)
	}
}
