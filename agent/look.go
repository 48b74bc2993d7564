package agent

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
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
	_, err = conntrack.List(conntrack.Family(f.VIP), func(e conntrack.Entry) bool {
		if frontendOf(e) == f && !e.Ending() && (!client.IsValid() || e.Client.Addr() == client) {
			out = append(out, Flow{Client: e.Client, Target: e.Answers})
		}
		return false
	})
	return out, err
}
