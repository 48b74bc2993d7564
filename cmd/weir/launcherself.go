package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/procfs"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher/allow"
)

// self is what the node tells of its launcher.
func (o *launcherOptions) self(ctx context.Context, list *allow.List) (l cluster.Launcher, err error) {
	l = cluster.Launcher{Drivers: list.Drivers, Version: versionOf(), Since: time.Now().UTC().Truncate(time.Second)}
	if len(list.Services) != 1 || list.Services[0] != "*" {
		l.Services = list.Services
	}
	if l.Nodes, err = list.Offer(); err != nil {
		return l, err
	}
	if err := l.Ports.UnmarshalText([]byte(o.ports)); err != nil {
		return l, err
	}
	l.Capacity.CPU = cmp.Or(o.cpus, float64(runtime.NumCPU()))
	if o.memory != "" {
		if err := l.Capacity.Memory.UnmarshalText([]byte(o.memory)); err != nil {
			return l, err
		}
	} else {
		l.Capacity.Memory = hostMemory() / 10 * 9
	}
	addresses, err := agent.Addresses()
	if err != nil {
		return l, err
	}
	place, err := o.doors.place(o.etcd)
	if err != nil {
		return l, err
	}
	if slices.Contains(list.Drivers, cluster.DriverProcess) {
		l.Logs = place.url(ctx, addresses, place.address.Port())
	}
	switch {
	case o.nodeIP != "":
		l.Address, err = netip.ParseAddr(o.nodeIP)
	case len(addresses) == 0:
		err = errors.New("this node has no address at which its instances could be reached: give --node-ip")
	default:
		l.Address = addresses[0]
	}
	return l, err
}

// hostMemory is 0, no limit, where it is not known.
func hostMemory() cluster.Bytes {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	m, err := fs.Meminfo()
	if err != nil || m.MemTotalBytes == nil {
		return 0
	}
	return cluster.Bytes(*m.MemTotalBytes)
}
