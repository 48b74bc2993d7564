package sample

import (
	"context"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// Kernel is the node that this process runs on. One goroutine uses it.
type Kernel struct {
	opened    func(context.Context) (map[cluster.Listener]uint64, error)
	listeners *Listeners
	flows     *tracked
	machine   *machine
	*Cgroups

	refusals refusals

	// Failed, if set, is told at each look of each TCP listener how many connections were newly found to have no answer, and
	// of those that refused some how many.
	Failed func(unanswered, refused map[netip.AddrPort]uint64)
}

// NewKernel looks at this node. The function counts new connections, as a rules driver's LocalCounts does.
func NewKernel(opened func(context.Context) (map[cluster.Listener]uint64, error)) (*Kernel, error) {
	groups, err := FindCgroups()
	if err != nil {
		return nil, err
	}
	machine, err := newMachine("/proc", "/sys")
	if err != nil {
		return nil, err
	}
	return &Kernel{opened: opened, listeners: NewListeners(), flows: newTracked(), machine: machine, Cgroups: groups}, nil
}

// Opened are the connections that the rules counted.
func (k *Kernel) Opened(ctx context.Context) (map[cluster.Listener]uint64, error) {
	return k.opened(ctx)
}

// Processes are those that listen in this network namespace.
func (k *Kernel) Processes(listeners []cluster.Listener) (map[cluster.Listener]int, error) {
	return k.listeners.Find(listeners)
}

// Flows are the connections that the kernel tracks in this network namespace.
func (k *Kernel) Flows(_ context.Context, listeners []cluster.Listener) (map[cluster.Listener]Flows, error) {
	flows, err := k.flows.look(listeners)
	if err == nil && k.Failed != nil {
		k.Failed(unanswered(listeners, flows), k.refusals.take())
	}
	return flows, err
}

// unanswered names every listener, so that one without news is known as such.
func unanswered(listeners []cluster.Listener, flows map[cluster.Listener]Flows) map[netip.AddrPort]uint64 {
	out := make(map[netip.AddrPort]uint64, len(listeners))
	for _, l := range listeners {
		if l.Proto == cluster.TCP {
			out[l.Address] = flows[l].Unanswered
		}
	}
	return out
}

// Machine is how the node as a whole is doing.
func (k *Kernel) Machine(now time.Time) loadmon.HostLoad { return k.machine.load(now) }
