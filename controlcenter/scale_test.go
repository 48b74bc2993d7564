package controlcenter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// assigned is so many serving instances of each service, on one node.
func assigned(services map[string]int) *cluster.Operations {
	ops := &cluster.Operations{Assigned: map[string]map[string]cluster.Assignment{"n1": {}}, Scaled: map[string]cluster.Scaled{}}
	for name, n := range services {
		for i := range n {
			ops.Assigned["n1"][fmt.Sprintf("%s-%d", name, i)] = cluster.Assignment{Service: name, Wanted: cluster.WantServing}
		}
	}
	return ops
}

func TestPlanScale(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	a, b := storetest.Service(t, "a", "10.10.1.1:80"), storetest.Service(t, "b", "10.10.1.2:80", "192.168.1.1:80")
	a.Run, a.Scale = &cluster.Run{Command: []string{"/bin/a"}}, &cluster.Scale{Min: 2, Max: 8}
	f.Put(t, a, b)
	ops := assigned(map[string]int{"a": 4, "c": 2})
	plan := func(w controlcenter.ScaleWord) (controlcenter.ScalePlan, error) {
		return controlcenter.PlanScale(snapshot(t, f), ops, w, noon)
	}
	p, err := plan(controlcenter.ScaleWord{Service: "a", Replicas: 6, Reason: "launch day"})
	require.NoError(t, err)
	require.Equal(t, cluster.SetScaled{Service: "a", Scaled: &cluster.Scaled{Replicas: 6, By: "operator", Reason: "launch day", Since: noon, Pinned: true}}, p.Change)
	require.Equal(t, "service a: as the file says -> 6 by an operator (launch day)", p.String())
	for says, w := range map[string]controlcenter.ScaleWord{
		"service b is not launched by Weir, and none of its instances stands by": {Service: "b", Replicas: 1},
		"x":                                 {Service: "x", Replicas: 1},
		"1001 replicas are outside 0..1000": {Service: "a", Replicas: 1001},
		"-1 replicas are outside":           {Service: "a", Replicas: -1, Force: true},
		"9 is outside of the 2..8":          {Service: "a", Replicas: 9},
		"1 is outside of the 2..8 that":     {Service: "a", Replicas: 1},
	} {
		_, err := plan(w)
		require.ErrorContains(t, err, says)
	}
	p, err = plan(controlcenter.ScaleWord{Service: "a", Replicas: 9, Force: true})
	require.NoError(t, err)
	require.NotNil(t, p.Change)
	require.Empty(t, p.Warning)

	const refused = "\n  warning: connections will be refused until it is scaled up"
	zero := controlcenter.ScaleWord{Service: "a", Replicas: 0, Force: true}
	p, err = plan(zero)
	require.NoError(t, err)
	require.Contains(t, p.String(), "service a: as the file says -> 0 by an operator"+refused)
	sleeps := *a
	sleeps.Scale = &cluster.Scale{Min: 0, Max: 8}
	f.Put(t, &sleeps)
	p, err = plan(zero)
	require.NoError(t, err)
	require.NotContains(t, p.String(), "warning", "whoever connects wakes it")
	f.Put(t, a)

	ops.Scaled["a"] = cluster.Scaled{Replicas: 6, Pinned: true}
	p, err = plan(controlcenter.ScaleWord{Service: "a", Replicas: 6})
	require.NoError(t, err)
	require.Equal(t, "service a: 6 by an operator already", p.String())
	p, err = plan(controlcenter.ScaleWord{Service: "a", Replicas: 6, Reason: "launch day"})
	require.NoError(t, err)
	require.Equal(t, "service a: 6 by an operator -> 6 by an operator (launch day)", p.String())
	p, err = plan(controlcenter.ScaleWord{Service: "a", Auto: true})
	require.NoError(t, err)
	require.Equal(t, 6, p.Change.(cluster.SetScaled).Scaled.Replicas, "the load goes on from where it is")
	require.False(t, p.Change.(cluster.SetScaled).Scaled.Pinned)
	ops.Scaled["a"] = cluster.Scaled{Replicas: 6, By: "busy"}
	p, err = plan(controlcenter.ScaleWord{Service: "a", Auto: true})
	require.NoError(t, err)
	require.Nil(t, p.Change)
	for by, from := range map[string]string{"busy": "6 by busy", "": "6", "operator": "6"} {
		ops.Scaled["a"] = cluster.Scaled{Replicas: 6, By: by}
		p, err = plan(controlcenter.ScaleWord{Service: "a", Replicas: 5})
		require.NoError(t, err)
		require.Equal(t, "service a: "+from+" -> 5 by an operator", p.String())
	}
}

// What an operator said and took back is not what there is: the file says how many.
func TestPlanScaleAfterAuto(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	a := storetest.Service(t, "a", "10.10.1.1:80")
	a.Run = &cluster.Run{Command: []string{"/bin/a"}}
	f.Put(t, a)
	ops := assigned(map[string]int{"a": 5})
	ops.Scaled["a"] = cluster.Scaled{Replicas: 5, By: "operator", Pinned: true}
	p, err := controlcenter.PlanScale(snapshot(t, f), ops, controlcenter.ScaleWord{Service: "a", Auto: true}, noon)
	require.NoError(t, err)
	require.Equal(t, "service a: 5 by an operator -> as the file says", p.String())
	ops.Scaled["a"] = *p.Change.(cluster.SetScaled).Scaled
	p, err = controlcenter.PlanScale(snapshot(t, f), ops, controlcenter.ScaleWord{Service: "a", Replicas: 7}, noon)
	require.NoError(t, err)
	require.Equal(t, "service a: as the file says -> 7 by an operator", p.String())
}

func TestPlanScaleOfAList(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80")
	s.Instances[1].Standby, s.Instances[2].Standby = true, true
	f.Put(t, s)
	p, err := controlcenter.PlanScale(snapshot(t, f), assigned(nil), controlcenter.ScaleWord{Service: "a", Replicas: 3}, noon)
	require.NoError(t, err)
	require.NotNil(t, p.Change)
	for _, n := range []int{0, 4} {
		_, err := controlcenter.PlanScale(snapshot(t, f), assigned(nil), controlcenter.ScaleWord{Service: "a", Replicas: n, Force: true}, noon)
		require.ErrorContains(t, err, "service a lists 3 instances, of which 1 do not stand by: give 1..3")
	}
}
