package main

import (
	"maps"
	"slices"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
)

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
