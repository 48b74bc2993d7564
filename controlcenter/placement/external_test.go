package placement

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestExternalInstancesAreLookedAtByOneNodeEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	list := func(addresses ...string) {
		w.publish("a", 0, func(s *cluster.Service) {
			s.Run = &cluster.Run{Driver: cluster.DriverExternal}
			for _, text := range addresses {
				i, err := cluster.ParseInstance(text)
				require.NoError(t, err)
				s.Run.Instances = append(s.Run.Instances, i)
			}
		})
	}
	where := func() map[netip.AddrPort]string {
		out := map[netip.AddrPort]string{}
		for node, assigned := range w.ops.Assigned {
			for _, a := range assigned {
				if a.Service != "a" || a.Wanted != cluster.WantServing {
					continue
				}
				at := netip.AddrPortFrom(a.Address, a.Ports["web"])
				require.Empty(t, out[at], "two look at %s", at)
				out[at] = node
			}
		}
		return out
	}
	first, second := netip.MustParseAddrPort("192.168.20.1:80"), netip.MustParseAddrPort("192.168.20.2:81")
	list(first.String(), second.String())
	w.second()
	require.Len(t, w.problems, 2, "nobody may")
	require.Contains(t, w.problems[0].Error(), "nobody can look at 192.168.20.1:80: none of 2 nodes has room")
	w.equip(func(l *cluster.Launcher) { l.Drivers = []string{"process", "external"} }, "n1", "n2")
	w.settle(time.Minute, nil)
	require.Len(t, where(), 2)
	require.NotEqual(t, where()[first], where()[second], "spread")
	require.Empty(t, w.problems)
	for _, ports := range w.ops.Ports {
		require.Empty(t, ports, "their ports are not the node's")
	}

	from := where()[first]
	w.draft.NodeAdmin(from, &cluster.NodeAdmin{Drain: true})
	w.settle(time.Minute, nil)
	require.Len(t, where(), 2)
	require.NotEqual(t, from, where()[first], "somebody else looks now")

	list(second.String())
	w.settle(3*time.Minute, nil)
	require.Equal(t, map[netip.AddrPort]string{second: where()[second]}, where())
	require.Len(t, w.takes("a"), 1)
	actions := w.actions
	w.settle(time.Minute, nil)
	require.Equal(t, actions, w.actions, "then nothing is left to do")
}
