package cluster_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestWeightBy(t *testing.T) {
	t.Parallel()
	seven := 7
	shares := &cluster.Weights{Share: map[string]int{"x": 3}}
	for _, test := range []struct {
		name string
		in   cluster.Inputs
		want cluster.WeightBy
	}{
		{"the file's", cluster.Inputs{}, cluster.ByFile},
		{"the mode's", cluster.Inputs{Service: &cluster.Service{Balance: cluster.BalanceUniform}}, cluster.ByUniform},
		{"the leader's", cluster.Inputs{Weights: shares}, cluster.ByLeader},
		{"the leader's mean", cluster.Inputs{Weights: &cluster.Weights{Share: map[string]int{"y": 3}}}, cluster.ByLeader},
		{"the leader only ejected", cluster.Inputs{Weights: &cluster.Weights{Ejected: map[string]cluster.Ejection{"x": {}}}}, cluster.ByFile},
		{"the file's no wins", cluster.Inputs{Weights: shares, Service: &cluster.Service{Instances: []cluster.Instance{{ID: "x"}}}}, cluster.ByFile},
		{"the operator's wins", cluster.Inputs{Weights: shares, Admin: map[string]cluster.Admin{"x": {Weight: &seven}}}, cluster.ByOperator},
	} {
		if test.in.Service == nil {
			test.in.Service = &cluster.Service{}
		}
		inst := cluster.Instance{ID: "x", Weight: 1}
		if len(test.in.Service.Instances) > 0 {
			inst = test.in.Service.Instances[0]
		}
		require.Equal(t, test.want, test.in.WeightBy(inst), test.name)
	}
}

// What a check said is shown with the state that it led to, and not beside another reason.
func TestOutputOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verdict cluster.Verdict
		status  cluster.Status
		down    *cluster.Down
		want    string
	}{
		{cluster.Dead, cluster.IsDead, nil, "said"},
		{cluster.Dead, cluster.IsDead, &cluster.Down{}, ""},
		{cluster.Dead, cluster.Draining, nil, ""},
		{cluster.Failing, cluster.IsFailing, nil, "said"},
		{cluster.Failing, cluster.Panic, nil, "said"},
		{cluster.Failing, cluster.IsDead, &cluster.Down{}, ""},
		{cluster.Leaving, cluster.IsLeaving, nil, "said"},
		{cluster.Leaving, cluster.Standby, nil, ""},
		{cluster.Suspect, cluster.IsSuspect, nil, "said"},
		{"", cluster.Serving, nil, ""},
	} {
		in := &cluster.Inputs{Hosts: map[string]cluster.Host{"x": {Node: "n1", Down: test.down}}, Health: map[string]cluster.Health{}}
		if test.verdict != "" {
			in.Health["x"] = cluster.Health{Verdict: test.verdict, Output: "said"}
		}
		s := cluster.State{Instance: cluster.Instance{ID: "x"}, Status: test.status}
		require.Equal(t, test.want, in.OutputOf(s), "%s %s", test.verdict, test.status)
	}
}

// A weight by hand, or of 0 in the file, means beside the leader's shares what it means beside the file's weights.
func TestWeightsBesideShares(t *testing.T) {
	t.Parallel()
	s := &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Balance: cluster.BalanceAdaptive}
	for i, weight := range []int{2, 2, 2, 0} {
		inst, err := cluster.ParseInstance(fmt.Sprintf("192.168.0.%d:80", i+1))
		require.NoError(t, err)
		inst.Weight = weight
		s.Instances = append(s.Instances, inst)
	}
	id := func(i int) string { return s.Instances[i].ID }
	in := &cluster.Inputs{Service: s, Weights: &cluster.Weights{Share: map[string]int{id(0): 300_000, id(1): 500_000, id(2): 400_000}}}
	weights := func() (out []int) {
		for _, state := range cluster.Resolve(in).Instances {
			out = append(out, state.Weight)
		}
		return out
	}
	require.Equal(t, []int{300_000, 500_000, 400_000, 0}, weights())
	for hand, want := range map[int]int{0: 0, 1: 200_000, 2: 400_000, 1000: 200_000_000} {
		in.Admin = map[string]cluster.Admin{id(2): {Weight: &hand}}
		require.Equal(t, []int{300_000, 500_000, want, 0}, weights())
	}
	four := 4
	in.Admin = map[string]cluster.Admin{id(2): {Weight: &four}}
	in.Health = map[string]cluster.Health{id(0): {Verdict: cluster.Suspect}}
	require.Equal(t, []int{300_000, 500_000, 800_000, 0}, weights(), "one that is suspect takes its part")
	in.Health = map[string]cluster.Health{id(0): {Verdict: cluster.Leaving}}
	require.Equal(t, []int{0, 500_000, 1_000_000, 0}, weights())
	in.Health = nil
	in.Weights.Share[id(3)] = 100_000 // noted for when the file permits it again
	require.Equal(t, []int{300_000, 500_000, 800_000, 0}, weights())
	delete(in.Weights.Share, id(3))
	one := 1
	in.Admin = map[string]cluster.Admin{id(3): {Weight: &one}}
	require.Equal(t, []int{300_000, 500_000, 400_000, 200_000}, weights(), "a word by hand wins over the file's no")
}
