package cluster_test

import (
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
		{"the operator's wins", cluster.Inputs{Weights: shares, Admin: map[string]cluster.Admin{"x": {Weight: &seven}}}, cluster.ByOperator},
	} {
		if test.in.Service == nil {
			test.in.Service = &cluster.Service{}
		}
		require.Equal(t, test.want, test.in.WeightBy(cluster.Instance{ID: "x"}), test.name)
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
