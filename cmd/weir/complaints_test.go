package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
	"github.com/weir-lb/weir/internal/describe"
	"github.com/weir-lb/weir/internal/top"
)

// grumbling is a cast in which the load monitor of n1, a process of its own, does not run a check.
func grumbling(t *testing.T) *fake {
	t.Helper()
	f := cast(t)
	f.loadmon = map[string]cluster.Loadmon{"n1": {Problems: []cluster.Problem{
		{Object: "service a", Field: "check.exec", What: "node n1 does not run it\x1b[2J", Fix: "allow it"}, {Object: "service b", Field: "load", What: "it lies"},
	}, ProblemCount: 25}}
	return f
}

// What a load monitor of its own complains of is in every view in which that of an agent's is.
func TestViewsShowComplaintsOfLoadMonitors(t *testing.T) {
	t.Parallel()
	f := grumbling(t)
	require.Regexp(t, `(?m)^service a +n1 +- +check.exec: node n1 does not run it\\u001b\[2J +allow it$`, weir(t, f, "get", "problems").out)
	require.NotContains(t, weir(t, f, "get", "problems", "b").out, "check.exec")
	require.Regexp(t, `(?m)^n1 +alive +- +104 +0 +25 `, weir(t, f, "get", "nodes").out)
	require.Contains(t, weir(t, f, "describe", "service", "a").out, "  n1 (alive): service a: check.exec: node n1 does not run it")
	one := read[describe.Service](t, weir(t, f, "describe", "service", "a", "-o", "json"))
	require.Len(t, one.Nodes[0].Problems, 1)
	for _, command := range [][]string{{"status"}, {"doctor"}} {
		r := weir(t, f, command...)
		require.Contains(t, r.out, `node n1: service a: check.exec: node n1 does not run it\u001b[2J`, command)
		require.Contains(t, r.out, "23 more problems", command)
		require.Contains(t, r.out, "allow it", command)
	}
	var frame top.Frame
	require.NoError(t, json.Unmarshal([]byte(weir(t, f, "top", "--once", "-o", "json").out), &frame))
	require.Equal(t, 25, frame.Nodes[0].Problems)

	f.loadmon = nil
	require.NotContains(t, weir(t, f, "get", "problems").out, "check.exec")
	require.NotContains(t, weir(t, f, "describe", "service", "a").out, "check.exec")
}

// A role of an older version may not read them: the rest is worth showing. Where etcd does not answer there is no rest.
func TestComplaintsThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	f := grumbling(t)
	f.Operate(cluster.Operations{Launched: map[string]map[string]cluster.Launched{"n1": {"a-1": {Service: "a", Phase: cluster.PhaseCrashed}}}})
	f.denied = fmt.Errorf("read what load monitors complain of: %w", cluster.ErrDenied)
	r := weir(t, f, "get", "problems")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "warning: read what load monitors complain of")
	require.Contains(t, r.out, "instance a-1")
	f.denied = storetest.ErrUnreachable
	require.Equal(t, 5, weir(t, f, "get", "problems").code)
}
