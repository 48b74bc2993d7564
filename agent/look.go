package agent

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// RouteTo says how a process of this node reaches an address: "dev weir0 src 10.0.0.1".
func RouteTo(to netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return "", fmt.Errorf("route to %s: %w", to, err)
	}
	route := routes[0]
	link, err := netlink.LinkByIndex(route.LinkIndex)
	if err != nil {
		return "", fmt.Errorf("route to %s: %w", to, err)
	}
	text := "dev " + link.Attrs().Name
	if route.Gw != nil {
		text = "via " + route.Gw.String() + " " + text
	}
	if route.Src != nil {
		text += " src " + route.Src.String()
	}
	return text, nil
}

// Flow is one live connection through a VIP.
type Flow struct {
	Client netip.AddrPort `json:"client"`
	Target netip.AddrPort `json:"target"` // where its packets really go
}

// FlowsTo are the tracked connections to a frontend that are not ending; of one client, unless that is invalid.
func FlowsTo(f cluster.Frontend, client netip.Addr) (out []Flow, err error) {
	family := netlink.InetFamily(unix.AF_INET)
	if f.VIP.Is6() {
		family = unix.AF_INET6
	}
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	for _, flow := range flows {
		source := addrOf(flow.Forward.SrcIP)
		ours := addrOf(flow.Forward.DstIP) == f.VIP && flow.Forward.DstPort == f.Port && cluster.Proto(flow.Forward.Protocol) == f.Proto
		if !ours || ending(flow) || client.IsValid() && source != client {
			continue
		}
		out = append(out, Flow{
			Client: netip.AddrPortFrom(source, flow.Forward.SrcPort),
			Target: netip.AddrPortFrom(addrOf(flow.Reverse.SrcIP), flow.Reverse.SrcPort),
		})
	}
	return out, nil
}

// ending says whether both sides of a TCP connection have finished, or one has reset it: the entry only waits to go.
func ending(flow *netlink.ConntrackFlow) bool {
	tcp, ok := flow.ProtoInfo.(*netlink.ProtoInfoTCP)
	return ok && tcp.State >= conntrackLastAck && tcp.State <= conntrackClose
}
