package doctor

import (
	"net/netip"
	"time"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// Host is what is known of one node.
type Host struct {
	Links      Fact[[]Link]
	Sysctls    Sysctls
	Kernel     Fact[Kernel]
	Caps       Fact[uint64] // effective capabilities of this process
	Clock      Fact[Clock]
	Neighbours Fact[[]nft.Neighbour] // other programs' hooks into the kernel
	Legacy     Fact[[]string]        // tables of iptables-legacy
	Processes  Fact[[]string]        // names of what runs
	Flushes    Fact[[]Flush]
	State      Fact[StateDir]

	Prefix string            // of the keys in etcd
	Access Fact[etcd.Access] // of the credential at hand; not enabled: nothing to say

	AgentRuns Fact[bool]
	Rules     Fact[Rules]
	Snapshot  Fact[*cluster.Snapshot] // nil without an error: etcd was not asked
	Routes    Fact[[]agent.RouteFault]
}

// Link is one interface.
type Link struct {
	Name  string
	Kind  string // "device", "veth", "bridge"
	Up    bool
	Ports int // of a bridge
	Addrs []netip.Prefix
}

// Kernel is what the kernel can do.
type Kernel struct {
	Release string
	Owns    bool // tables can belong to a process and outlive it
}

// Clock is the state of the system clock.
type Clock struct {
	Synchronised bool
	Error        time.Duration // the kernel's own bound
}

// Flush is a line that empties the whole ruleset when it is loaded.
type Flush struct {
	File   string
	Line   int
	AtBoot bool // the service that loads it is switched on
}

// StateDir is the agent's directory.
type StateDir struct {
	Path      string
	Exists    bool
	Directory bool
	Mode      uint32
	ReadOnly  bool
	Free      uint64 // bytes
	File      error  // what is wrong with the snapshot file
}

// Rules are what the kernel holds of ours against what it should hold.
type Rules struct {
	Driver string         // that they were written by
	VIPs   []netip.Prefix // that the node should have routes to
	Owned  bool
	Plan   *rules.Plan // nil: there is nothing to compare with
}

// v4 and v6 say of which families there are VIPs; all of them while none is known.
func (h *Host) families() (v4, v6 bool) {
	vips, err := h.Rules.get()
	if err != nil || len(vips.VIPs) == 0 {
		return true, false
	}
	for _, p := range vips.VIPs {
		if p.Addr().Is4() {
			v4 = true
		} else {
			v6 = true
		}
	}
	return v4, v6
}

// Published is what etcd says, or nil.
func (h *Host) Published() *cluster.Snapshot {
	s, _ := h.Snapshot.get()
	return s
}
