package agent

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// entry is a connection tracking entry: to a frontend, answered from somewhere.
func entry(proto uint8, frontend, answers string, state uint8) *netlink.ConntrackFlow {
	to, from := netip.MustParseAddrPort(frontend), netip.MustParseAddrPort(answers)
	flow := &netlink.ConntrackFlow{
		Forward: netlink.IPTuple{Protocol: proto, SrcIP: net.IPv4(192, 168, 10, 50), SrcPort: 4242, DstIP: to.Addr().AsSlice(), DstPort: to.Port()},
		Reverse: netlink.IPTuple{Protocol: proto, SrcIP: from.Addr().AsSlice(), SrcPort: from.Port(), DstIP: net.IPv4(192, 168, 10, 1), DstPort: 40000},
	}
	if proto == unix.IPPROTO_TCP {
		flow.ProtoInfo = &netlink.ProtoInfoTCP{State: state}
	}
	return flow
}

func TestStaleFlows(t *testing.T) {
	const udp, tcp = unix.IPPROTO_UDP, unix.IPPROTO_TCP
	const synSent, established = 1, 3
	draft := cluster.NewDraft()
	service := func(name, vip string, proto cluster.Proto, instances ...string) {
		s := &cluster.Service{Name: name, VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Ports: []cluster.Port{{Port: 80, Protocol: proto}}, CreateRevision: 1, ModRevision: 1}
		for _, address := range instances {
			i, err := cluster.ParseInstance(address)
			require.NoError(t, err)
			s.Instances = append(s.Instances, i)
		}
		draft.Service(name, s)
	}
	service("udp", "10.10.1.1", cluster.UDP, "192.168.10.100:80", "192.168.10.101:81")
	service("tcp", "10.10.1.1", cluster.TCP, "192.168.10.100:80")
	service("none", "10.10.1.2", cluster.UDP)
	service("six", "fd10::1", cluster.UDP, "[fd00:10::100]:80")
	gone := cluster.Frontend{VIP: netip.MustParseAddr("10.77.0.1"), Proto: cluster.UDP, Port: 80}
	stale := &staleFlows{want: rules.Build(nil, draft.Snapshot(9), rules.Options{}), gone: map[cluster.Frontend]bool{gone: true}}

	tests := []struct {
		name  string
		flow  *netlink.ConntrackFlow
		stale bool
	}{
		{"to a wanted instance", entry(udp, "10.10.1.1:80", "192.168.10.100:80", 0), false},
		{"to another wanted one", entry(udp, "10.10.1.1:80", "192.168.10.101:81", 0), false},
		{"to one that went", entry(udp, "10.10.1.1:80", "192.168.10.102:80", 0), true},
		{"to a wanted address, wrong port", entry(udp, "10.10.1.1:80", "192.168.10.101:80", 0), true},
		{"to the VIP itself: bound without rules", entry(udp, "10.10.1.1:80", "10.10.1.1:80", 0), true},
		{"of a service without instance", entry(udp, "10.10.1.2:80", "192.168.10.100:80", 0), true},
		{"to an unknown port of a VIP", entry(udp, "10.10.1.1:99", "10.10.1.1:99", 0), true},
		{"of a frontend that went", entry(udp, "10.77.0.1:80", "192.168.10.100:80", 0), true},
		{"IPv6, wanted", entry(udp, "[fd10::1]:80", "[fd00:10::100]:80", 0), false},
		{"IPv6, went", entry(udp, "[fd10::1]:80", "[fd00:10::101]:80", 0), true},
		{"of somebody else", entry(udp, "8.8.8.8:53", "8.8.8.8:53", 0), false},
		{"of somebody else's mapping", entry(udp, "192.168.10.1:80", "172.17.0.2:80", 0), false},
		{"TCP without a reply, went", entry(tcp, "10.10.1.1:80", "192.168.10.102:80", synSent), true},
		{"TCP without a reply, bound without rules", entry(tcp, "10.10.1.1:80", "10.10.1.1:80", synSent), true},
		{"TCP without a reply, wanted", entry(tcp, "10.10.1.1:80", "192.168.10.100:80", synSent), false},
		{"TCP established to one that went: drains", entry(tcp, "10.10.1.1:80", "192.168.10.102:80", established), false},
		{"TCP of unknown state", &netlink.ConntrackFlow{Forward: entry(tcp, "10.10.1.1:80", "192.168.10.102:80", 0).Forward}, false},
		{"ICMP", entry(unix.IPPROTO_ICMP, "10.10.1.1:80", "10.10.1.1:80", 0), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.stale, stale.MatchConntrackFlow(test.flow))
		})
	}
}

// TestFlowsFailure keeps in mind which frontends went until that was seen through.
func TestFlowsFailure(t *testing.T) {
	f := newFlows(slog.New(slog.DiscardHandler), NewMetrics(nil))
	var asked []*staleFlows
	answer := error(unix.EPERM)
	f.remove = func(_ netlink.InetFamily, filter netlink.CustomConntrackFilter) (uint, error) {
		asked = append(asked, filter.(*staleFlows))
		return 1, answer
	}
	require.NoError(t, f.reconcile(t.Context()))
	require.Empty(t, asked, "before the first pass nothing is known")
	went := newHistory().service(1, 1).snapshot()
	have := rules.NewState()
	have.Commit(rules.Diff(have, rules.Build(nil, went, rules.Options{})))
	want := rules.Build(nil, newHistory().service(2, 1).snapshot(), rules.Options{})
	f.want(want, rules.Diff(have, want))
	frontend := cluster.Frontend{VIP: netip.MustParseAddr("10.10.1.1"), Proto: cluster.TCP, Port: 80}
	require.ErrorIs(t, f.reconcile(t.Context()), unix.EPERM)
	answer = unix.ENOENT // it ended by itself
	require.NoError(t, f.reconcile(t.Context()))
	require.True(t, asked[len(asked)-1].gone[frontend])
	require.NoError(t, f.reconcile(t.Context()))
	require.False(t, asked[len(asked)-1].gone[frontend], "seen through")
}
