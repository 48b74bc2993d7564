package controlcenter_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

func TestAddHave(t *testing.T) {
	t.Parallel()
	one, _ := cluster.ParseInstance("192.168.10.1:80")
	two, _ := cluster.ParseInstance("192.168.10.2:80")
	six, _ := cluster.ParseInstance("[fd00::1]:80")
	draft := cluster.NewDraft()
	draft.Service("a", &cluster.Service{
		Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1"), netip.MustParseAddr("fd10::1")},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: []cluster.Instance{one, two, six},
	})
	draft.Service("quiet", &cluster.Service{
		Name: "quiet", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.2")},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: []cluster.Instance{one},
	})
	snapshot := draft.Snapshot(1)
	rows, err := controlcenter.Instances(snapshot, "", time.Now())
	require.NoError(t, err)
	f4, _ := cluster.ParseFrontend("10.10.1.1:80")
	f6, _ := cluster.ParseFrontend("[fd10::1]:80")
	controlcenter.AddHave(rows, snapshot, controlcenter.Counts{
		f4: {netip.MustParseAddrPort("192.168.10.1:80"): 30, netip.MustParseAddrPort("192.168.10.2:80"): 10},
		f6: {netip.MustParseAddrPort("[fd00::1]:80"): 5},
	})
	have := map[string]*float64{}
	for _, r := range rows {
		have[r.Service+"/"+r.ID] = r.Have
	}
	require.InDelta(t, 75, *have["a/192.168.10.1:80"], 1e-9)
	require.InDelta(t, 25, *have["a/192.168.10.2:80"], 1e-9)
	require.InDelta(t, 100, *have["a/[fd00::1]:80"], 1e-9, "families are counted apart")
	require.Nil(t, have["quiet/192.168.10.1:80"], "nothing was counted, so nothing is claimed")
}

func TestCountsSince(t *testing.T) {
	t.Parallel()
	f, _ := cluster.ParseFrontend("10.10.1.1:80")
	grew, fell, came := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("10.0.0.3:1")
	before := controlcenter.Counts{f: {grew: 5, fell: 100}}
	after := controlcenter.Counts{f: {grew: 9, fell: 3, came: 2}}
	require.Equal(t, controlcenter.Counts{f: {grew: 4, fell: 3, came: 2}}, after.Since(before))
}
