package sample

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
)

// Kernel is the node that this process runs on. One goroutine uses it.
type Kernel struct {
	opened    func(context.Context) (map[cluster.Listener]uint64, error)
	listeners *Listeners
	*Cgroups
}

// NewKernel looks at this node. The function counts new connections, as a rules driver's LocalCounts does.
func NewKernel(opened func(context.Context) (map[cluster.Listener]uint64, error)) (*Kernel, error) {
	groups, err := FindCgroups()
	return &Kernel{opened, NewListeners(), groups}, err
}

// Opened are the connections that the rules counted.
func (k *Kernel) Opened(ctx context.Context) (map[cluster.Listener]uint64, error) {
	return k.opened(ctx)
}

// Processes are those that listen in this network namespace.
func (k *Kernel) Processes(listeners []cluster.Listener) (map[cluster.Listener]int, error) {
	return k.listeners.Find(listeners)
}

// Open counts TCP connections that are established, and flows of other protocols that were answered.
func (k *Kernel) Open(_ context.Context, listeners []cluster.Listener) (map[cluster.Listener]uint64, error) {
	out := make(map[cluster.Listener]uint64, len(listeners))
	for _, l := range listeners {
		out[l] = 0
	}
	count := func(e conntrack.Entry) bool {
		l := cluster.Listener{Address: e.Answers, Proto: cluster.Proto(e.Proto)}
		if _, ours := out[l]; ours && e.Replied && !e.Ending() {
			out[l]++
		}
		return false
	}
	_, err4 := conntrack.List(unix.AF_INET, count)
	_, err6 := conntrack.List(unix.AF_INET6, count)
	return out, errors.Join(err4, err6)
}
