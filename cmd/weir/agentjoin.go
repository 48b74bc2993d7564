package main

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// join tells the cluster about this node, as soon as etcd listens and whenever its addresses changed.
func join(ctx context.Context, o *agentOptions, s served) error {
	var told *cluster.Node
	for {
		wait := time.Minute
		node, err := describeNode(o)
		if err == nil {
			node.Monitor = s.monitorURL(ctx, o.node, node.Addresses)
		}
		if err == nil && (!sameNode(told, node) || forgotten(s.agent.Status().Snapshot, o.node)) {
			if err = s.store.Join(ctx, o.node, node); err == nil {
				told = node
			}
		}
		if err != nil {
			s.logger.Debug("join", "err", err)
			wait = 2 * time.Second
		}
		if !runner.Sleep(ctx, wait) {
			return nil
		}
	}
}

// describeNode is what this node tells the cluster about itself. VIP routes are no addresses, so no VIP is among them.
func describeNode(o *agentOptions) (*cluster.Node, error) {
	addrs, err := agent.Addresses()
	if err != nil {
		return nil, err
	}
	return &cluster.Node{Addresses: addrs, Labels: o.labels, Version: versionOf()}, nil
}

func sameNode(a, b *cluster.Node) bool {
	return a != nil && slices.Equal(a.Addresses, b.Addresses) && maps.Equal(a.Labels, b.Labels) && a.Version == b.Version && a.Monitor == b.Monitor
}

// monitorURL is where this node's load monitor answers. One in a process of its own tells that itself, and is not
// contradicted.
func (s served) monitorURL(ctx context.Context, node string, addresses []netip.Addr) string {
	if s.monitor != nil {
		return s.monitor.url(ctx, addresses)
	}
	if snapshot := s.agent.Status().Snapshot; snapshot != nil {
		if known, _ := snapshot.Nodes.Get(node); known != nil {
			return known.Monitor
		}
	}
	return ""
}

// forgotten says whether the cluster does not know the node any more: etcd was wiped, or somebody removed it.
func forgotten(s *cluster.Snapshot, node string) bool {
	if s == nil {
		return false
	}
	_, known := s.Nodes.Get(node)
	return !known
}
