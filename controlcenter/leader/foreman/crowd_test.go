package foreman_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher/keep"
	"github.com/weir-lb/weir/launcher/launchertest"
)

// TestManyOnOneNode has five services want sixty instances each, on one node that has just as many ports, while the
// leadership passes on: each port has one instance, and each instance is started once.
func TestManyOnOneNode(t *testing.T) {
	t.Parallel()
	const services, each, from = 5, 60, 20000
	l, d := emptyLab(t), &launchertest.Idle{}
	l.node("n1", 0, func(c *keep.Config) {
		c.Drivers[cluster.DriverProcess] = d
		c.Self.Ports = cluster.PortRange{From: from, To: from + services*each - 1}
		c.Probe = func(context.Context, *cluster.Check, netip.AddrPort) error { return nil }
	})
	stop, _ := l.lead("cc1")
	many := each
	for i := range services {
		service := &cluster.Service{
			Name: fmt.Sprintf("a%d", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, byte(i + 1)})}, Replicas: &many,
			Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Run: &cluster.Run{Command: []string{"/bin/a"}},
		}
		l.commit(cluster.Publish{Service: service})
	}
	started := func() int { return len(d.Starts()) }
	require.Eventually(t, func() bool { return started() > services*each/4 }, 2*time.Minute, 5*time.Millisecond)
	stop()
	l.lead("cc2")
	require.Eventually(t, func() bool {
		ready := 0
		for _, launched := range l.operations().Launched["n1"] {
			ready += map[cluster.Phase]int{cluster.PhaseReady: 1}[launched.Phase]
		}
		return ready == services*each
	}, 2*time.Minute, 100*time.Millisecond, "all are ready")
	ids, ports := map[string]bool{}, map[uint16]bool{}
	for _, spec := range d.Starts() {
		require.False(t, ids[spec.ID] || ports[spec.Ports[0].Port], "%s at port %d", spec.ID, spec.Ports[0].Port)
		ids[spec.ID], ports[spec.Ports[0].Port] = true, true
	}
	require.Len(t, ids, services*each)
	ops := l.operations()
	require.Len(t, ops.Assigned["n1"], services*each)
	require.Len(t, ops.Ports["n1"], services*each)
	for id, a := range ops.Assigned["n1"] {
		require.Equal(t, id, ops.Ports["n1"][a.Ports[""]].ID)
	}
}
