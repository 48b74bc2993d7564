package sample

import (
	"context"
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
	return &Kernel{opened, NewListeners(), newTracked(), machine, groups}, nil
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
	return k.flows.look(listeners)
}

// Machine is how the node as a whole is doing.
func (k *Kernel) Machine(now time.Time) loadmon.HostLoad { return k.machine.load(now) }
