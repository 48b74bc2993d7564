package integration

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// Worker is an instance as a process on a node, where the node's load monitor finds it.
type Worker struct {
	*lab.Worker
	Address string // which is also the id that it answers with
}

// Hire starts a worker on a node. The address and id are the World's to give; each worker has a port of its own, and
// answers checks on another one.
func (w *World) Hire(node *lab.Host, work lab.Work) *Worker {
	w.t.Helper()
	*w.hired++
	work.Address = netip.AddrPortFrom(node.Addr4, uint16(8000+*w.hired))
	work.Health = netip.AddrPortFrom(node.Addr4, healthPort(work.Address.Port()))
	work.ID = work.Address.String()
	return w.hire(node, work)
}

// Rehire starts a worker that was killed once more, at the same address.
func (w *World) Rehire(node *lab.Host, dead *Worker) *Worker {
	w.t.Helper()
	address := netip.MustParseAddrPort(dead.Address)
	return w.hire(node, lab.Work{ID: dead.Address, Address: address, Health: netip.AddrPortFrom(address.Addr(), healthPort(address.Port()))})
}

func (w *World) hire(node *lab.Host, work lab.Work) *Worker {
	w.t.Helper()
	worker, err := lab.StartWorker(node.Namespace, work)
	require.NoError(w.t, err)
	return &Worker{worker, work.ID}
}

func healthPort(port uint16) uint16 { return port + 1000 }

// Group is a control group whose processes share a part of one processor.
func (w *World) Group(name string, processors float64) *lab.Cgroup {
	w.t.Helper()
	group, err := w.Lab.Cgroup(name, processors)
	require.NoError(w.t, err)
	return group
}

// Workers makes a service of workers, which are checked by HTTP where a check is given: its kind is left to this call.
func Workers(name string, f cluster.Frontend, check *cluster.Check, workers ...*Worker) *cluster.Service {
	var addresses []string
	for _, worker := range workers {
		addresses = append(addresses, worker.Address)
	}
	s := Service(name, f, addresses...)
	if check == nil {
		return s
	}
	asked := *check
	asked.HTTP, asked.Port = &cluster.HTTPCheck{}, "health"
	s.Check = &asked
	s.Ports[0].Name = "main"
	s.Ports = append(s.Ports, cluster.Port{Name: "health", Port: f.Port + 1, Protocol: cluster.TCP})
	for i := range s.Instances {
		s.Instances[i].Ports = map[string]uint16{"health": healthPort(s.Instances[i].Port)}
	}
	return s
}

// Press sends an open load until the test ends.
func (w *World) Press(from *lab.Host, f cluster.Frontend, perSecond float64) {
	ctx, cancel := context.WithCancel(w.t.Context())
	due := lab.PoissonArrivals(1, perSecond, 10*time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = lab.Arrive(ctx, from.Namespace, lab.Arrivals{Frontend: Address(f), Due: due})
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

// Share is the part of new connections that a node sends to a worker.
func (w *World) Share(node *lab.Host, f cluster.Frontend, to *Worker) float64 {
	w.t.Helper()
	slots, sum := w.Slots(node)[f], 0
	for _, n := range slots {
		sum += n
	}
	return float64(slots[netip.MustParseAddrPort(to.Address)]) / float64(max(sum, 1))
}

// AwaitTargets waits until each node sends new connections to exactly these workers.
func (w *World) AwaitTargets(within time.Duration, f cluster.Frontend, workers ...*Worker) time.Duration {
	w.t.Helper()
	want := map[netip.AddrPort]bool{}
	for _, worker := range workers {
		want[netip.MustParseAddrPort(worker.Address)] = true
	}
	return w.Eventually(within, fmt.Sprintf("new connections go to %d workers", len(workers)), func() bool {
		for _, node := range w.Nodes {
			slots := w.Slots(node)[f]
			if len(slots) != len(want) {
				return false
			}
			for target := range slots {
				if !want[target] {
					return false
				}
			}
		}
		return true
	})
}
