package loadmon

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func listener(address string, proto cluster.Proto) cluster.Listener {
	return cluster.Listener{Address: netip.MustParseAddrPort(address), Proto: proto}
}

func TestLocals(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	for i, name := range []string{"b", "a"} {
		s := &cluster.Service{
			Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, byte(i + 1)})}, CreateRevision: 1, ModRevision: 1,
			Ports: []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "tls", Port: 443, Protocol: cluster.TCP}},
		}
		for _, addr := range []string{"192.168.1.2", "192.168.1.1"} {
			s.Instances = append(s.Instances, cluster.Instance{ID: addr, Addr: netip.MustParseAddr(addr), Ports: map[string]uint16{"web": 8080, "tls": 8080 + uint16(i)}, Weight: 1})
		}
		d.Service(name, s)
	}
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}})
	snapshot := d.Snapshot(1)
	require.Equal(t, []Local{
		{"a", "192.168.1.1", []cluster.Listener{listener("192.168.1.1:8080", cluster.TCP), listener("192.168.1.1:8081", cluster.TCP)}},
		{"b", "192.168.1.1", []cluster.Listener{listener("192.168.1.1:8080", cluster.TCP)}},
	}, Locals(snapshot, "n1"))
	require.Empty(t, Locals(snapshot, ""))
	require.Empty(t, Locals(snapshot, "n2"))
}
