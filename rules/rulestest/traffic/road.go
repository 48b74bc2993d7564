// Package traffic holds drivers to what true connections through a real kernel do, the same for each driver.
package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// Driver is a driver that counts connections.
type Driver interface {
	rules.Driver
	Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error)
	Refused(ctx context.Context) (map[cluster.Frontend]uint64, error)
	LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error)
}

// Road is a client whose way to the VIPs leads through one node, and three instances that name themselves: i1, i2, i3 on
// port 80 of each family.
type Road struct {
	*lab.Cluster
	Node    *lab.Host
	Driver  Driver
	Sources []netip.Addr // further addresses of the client
	Names   map[netip.AddrPort]string
	Hosted  map[string]*lab.Instance

	t *testing.T
}

// The networks that VIPs are taken from.
var (
	VIPs4 = netip.MustParsePrefix("10.10.1.0/24")
	VIPs6 = netip.MustParsePrefix("fd10::/64")
)

// NewRoad builds one that is gone when the test ends. Open makes the driver in a network namespace.
func NewRoad(t *testing.T, open func(t testing.TB, ns int) Driver) *Road {
	c, err := lab.NewCluster(lab.Test(t), 1, 3)
	require.NoError(t, err)
	r := &Road{Cluster: c, Node: c.Nodes[0], t: t, Names: map[netip.AddrPort]string{}, Hosted: map[string]*lab.Instance{}}
	r.Driver = open(t, int(r.Node.Netns()))
	for i, host := range c.Instances {
		name := fmt.Sprintf("i%d", i+1)
		addresses := []netip.AddrPort{netip.AddrPortFrom(host.Addr4, 80), netip.AddrPortFrom(host.Addr6, 80)}
		instance, err := lab.Serve(host.Namespace, name, addresses...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = instance.Close() })
		r.Hosted[name] = instance
		for _, a := range addresses {
			r.Names[a] = name
		}
	}
	require.NoError(t, c.RouteVIPs(c.Client, r.Node, VIPs4, VIPs6))
	return r
}

// AddSources gives the client so many further addresses of each family.
func (r *Road) AddSources(n int) {
	for i := range n {
		for _, text := range []string{fmt.Sprintf("192.168.10.%d/24", 60+i), fmt.Sprintf("fd00:10::%x/64", 0x600+i*i*37)} {
			p := netip.MustParsePrefix(text)
			command := []string{"address", "add", text, "dev", "eth0"}
			if p.Addr().Is6() {
				command = append(command, "nodad") // usable at once
			}
			out, err := r.Client.Output("ip", command...)
			require.NoError(r.t, err, string(out))
			r.Sources = append(r.Sources, p.Addr())
		}
	}
}

// RouteLocally gives clients on the node their routes to the VIPs, as an agent does.
func (r *Road) RouteLocally() {
	for _, command := range [][]string{
		{"link", "add", "weir0", "type", "bridge"}, {"link", "set", "weir0", "up"},
		{"route", "add", VIPs4.String(), "dev", "weir0", "scope", "link", "src", r.Node.Addr4.String()},
		{"-6", "route", "add", VIPs6.String(), "dev", "lo", "src", r.Node.Addr6.String()},
	} {
		out, err := r.Node.Output("ip", command...)
		require.NoError(r.t, err, string(out))
	}
}

// patience is how long a connection may take: what is refused is told at once, and what is not fails in the end.
const patience = 20 * time.Second

// Connect opens connections from a host. Without a source the route says which.
func (r *Road) Connect(from *lab.Host, f cluster.Frontend, source netip.Addr, n int) lab.Result {
	result, err := lab.Flood(r.t.Context(), from.Namespace, lab.Load{
		Frontend: netip.AddrPortFrom(f.VIP, f.Port), Network: f.Proto.String(), Connections: n, Source: source, Timeout: patience,
	})
	require.NoError(r.t, err)
	return result
}
