package controlcenter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// What a leader wrote counts, where it decides at all; else the file.
func TestAllDue(t *testing.T) {
	t.Parallel()
	list := storetest.Service(t, "list", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80")
	list.Instances[1].Standby, list.Instances[2].Standby = true, true
	scales := launchedService(t, "scales", "10.10.1.2:80", 0)
	scales.Replicas, scales.Scale = nil, scale(0, 5)
	calls := *list
	calls.Name, calls.VIPs, calls.Scale = "calls", storetest.Service(t, "x", "10.10.1.3:80").VIPs, scale(2, 9)
	plain := storetest.Service(t, "plain", "10.10.1.4:80", "192.168.1.4:80")
	f := storetest.New()
	f.Put(t, list, scales, &calls, plain, launchedService(t, "fixed", "10.10.1.5:80", 3))
	due := func(scaled map[string]cluster.Scaled) map[string]int {
		return controlcenter.AllDue(snapshot(t, f), &cluster.Operations{Scaled: scaled})
	}
	file := map[string]int{"list": 1, "scales": 1, "calls": 2, "fixed": 3}
	require.Equal(t, file, due(nil))
	by := func(s cluster.Scaled) map[string]cluster.Scaled {
		out := map[string]cluster.Scaled{}
		for _, name := range []string{"list", "scales", "calls", "plain", "fixed"} {
			out[name] = s
		}
		return out
	}
	require.Equal(t, map[string]int{"list": 1, "scales": 4, "calls": 4, "fixed": 3}, due(by(cluster.Scaled{Replicas: 4})), "only where the load decides")
	require.Equal(t, map[string]int{"list": 4, "scales": 4, "calls": 4, "fixed": 4}, due(by(cluster.Scaled{Replicas: 4, Pinned: true})))
	require.Equal(t, file, due(by(cluster.Scaled{Withdrawn: true, Pinned: true})), "of one of the same name, before this")
}
