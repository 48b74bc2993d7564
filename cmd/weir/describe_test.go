package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
	"github.com/weir-lb/weir/internal/describe"
)

func TestDescribeService(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.events = []cluster.Event{{At: noon, Service: "a", What: cluster.EventWeights, Reason: "its load"}}
	r := weir(t, f, "describe", "service", "a")
	require.Equal(t, 0, r.code, r.err)
	for _, want := range []string{
		"service a\n  frontends  10.10.1.1:80\n  status     degraded: 2 of 3 instances take connections\n",
		"not as they should be\n  192.168.1.1:80: dead since 2026-01-02T11:55:00Z (5m ago): evil\\u001b[2J\\nrow \\u202e\n",
		"events\n  2026-01-02T12:00:00Z  weights  its load\n",
		"notes\n  loads are not shown: no node that could know them tells where its load monitor answers\n",
		"file\n  instances:\n  - address: 192.168.1.1:80\n",
	} {
		require.Contains(t, r.out, want)
	}
	one := read[describe.Service](t, weir(t, f, "describe", "service", "a", "-o", "json"))
	require.Equal(t, []any{"a", "degraded", 3, cluster.IsDead}, []any{one.Name, one.Status, one.Instances, one.Rows[0].State})
	require.Contains(t, weir(t, f, "describe", "services", "a", "-o", "yaml").out, "\nname: a\n")
}

// What is wrong with an instance is told with the field that it is about, and with what would mend it.
func TestLaunchedWithoutSuccess(t *testing.T) {
	t.Parallel()
	f := cast(t)
	refused := cluster.Launched{Service: "a", Phase: cluster.PhaseRefused, Problem: &cluster.Problem{
		Object: "instance a-1", Field: "user", What: `"root" is not allowed on this node`, Fix: "name one of the users in the launcher's list",
	}}
	f.Operate(cluster.Operations{Launched: map[string]map[string]cluster.Launched{"n1": {"a-1": refused}}})
	require.Contains(t, weir(t, f, "describe", "service", "a").out,
		"launched\n  instance a-1 on n1: user: \"root\" is not allowed on this node\n    -> name one of the users in the launcher's list\n")
	r := weir(t, f, "get", "problems", "a")
	require.Regexp(t, `(?m)^OBJECT +NODE +AGE +WHAT +FIX$`, r.out)
	require.Regexp(t, `(?m)^instance a-1 +n1 +- +user: "root" is not allowed on this node +name one of the users in the launcher's list$`, r.out)
}

// What several nodes tell of is one row: with the first of their names, and as data with all.
func TestGetProblemsOfSeveralNodes(t *testing.T) {
	t.Parallel()
	f := cast(t)
	var all []string
	for i := range 7 {
		all = append(all, fmt.Sprintf("m%d", i))
		f.Tell(all[i], true, cluster.Applied{Revision: 104, Problems: []cluster.Problem{{Object: "service a", What: "bad", Fix: "mend it"}}})
	}
	r := weir(t, f, "get", "problems", "a")
	require.Equal(t, 1, strings.Count(r.out, "service a"))
	require.Regexp(t, `(?m)^service a +m0, m1, m2, m3, m4 and 2 more +- +bad +mend it$`, r.out)
	got := read[[]controlcenter.Trouble](t, weir(t, f, "get", "problems", "a", "-o", "json"))
	require.Len(t, got, 1)
	require.Equal(t, "m0", got[0].Node)
	require.Equal(t, all, got[0].Nodes)
}

// What an instance asks for in vain is told also where no leader can be asked.
func TestUnheardAsksAreProblems(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.Operate(cluster.Operations{
		Assigned: map[string]map[string]cluster.Assignment{"n1": {"a-1": {Service: "a", Wanted: cluster.WantServing}}},
		Launched: map[string]map[string]cluster.Launched{"n1": {"a-1": {Service: "a", Phase: cluster.PhaseReady, Ask: &cluster.Ask{More: 2, At: noon}}}},
	})
	require.Regexp(t, `(?m)^service a +- +- +scale: instance a-1 on node n1 asks for more, and their number is fixed +give the service scale`, weir(t, f, "get", "problems", "a").out)
}

// How many are wanted and by whose word, how often each was started and how it ended last, and what is asked for in vain.
func TestDescribeWhatIsLaunched(t *testing.T) {
	t.Parallel()
	f := cast(t)
	a := storetest.Service(t, "shop", "10.10.1.9:80")
	a.Run = &cluster.Run{Command: []string{"/bin/shop"}}
	f.Put(t, a)
	assigned := func(wanted cluster.Wanted) cluster.Assignment {
		return cluster.Assignment{Service: "shop", Wanted: wanted, Address: netip.MustParseAddr("192.168.1.1"), Ports: map[string]uint16{"": 20001}}
	}
	f.Operate(cluster.Operations{
		Scaled:   map[string]cluster.Scaled{"shop": {Replicas: 2, By: "operator", Reason: "launch day", Since: noon.Add(-time.Hour), Pinned: true}},
		Assigned: map[string]map[string]cluster.Assignment{"n1": {"shop-1": assigned(cluster.WantServing), "shop-2": assigned(cluster.WantDrained)}},
		Launched: map[string]map[string]cluster.Launched{"n1": {"shop-1": {
			Service: "shop", Phase: cluster.PhaseReady, Starts: 3, Exit: "exit code 7", Since: noon.Add(-2 * time.Minute), Ask: &cluster.Ask{More: 2},
		}}},
	})
	out := weir(t, f, "describe", "service", "shop").out
	require.Contains(t, out, "\n  wanted     2, by an operator since 2026-01-02T11:00:00Z: launch day\n")
	require.Contains(t, out, `
launched
  INSTANCE  NODE  ADDRESS            PHASE  WANTED   STARTS  SINCE   LAST END
  shop-1    n1    192.168.1.1:20001  ready  serving  3       2m ago  exit code 7
  shop-2    n1    192.168.1.1:20001  -      drained  0       -       -
  service shop: run: one more instance is wanted, and no node has a launcher
    -> start weir launcher on each node that may run instances
  service shop: scale: instance shop-1 on node n1 asks for more, and their number is fixed
`)
	require.Contains(t, weir(t, f, "get", "problems", "shop").out, "asks for more, and their number is fixed")
	one := read[describe.Service](t, weir(t, f, "describe", "service", "shop", "-o", "json"))
	require.Equal(t, describe.Wanted{Replicas: 2, By: "operator", Reason: "launch day", Since: noon.Add(-time.Hour)}, *one.Wanted)
	require.Equal(t, []any{3, "exit code 7"}, []any{one.Runs[0].Starts, one.Runs[0].Exit})
	require.NotContains(t, weir(t, f, "describe", "service", "a").out, "wanted", "nobody decides how many there are of a list")
}

func TestDescribeServiceFails(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"describe", "describe service", "describe service a b", "describe node n1", "describe service a -o table"} {
		r := weir(t, cast(t), strings.Fields(args)...)
		require.Equal(t, []any{2, ""}, []any{r.code, r.out}, args)
	}
	r := weir(t, cast(t), "describe", "service", "ab")
	require.Equal(t, []any{1, ""}, []any{r.code, r.out})
	require.Contains(t, r.err, `service "ab" does not exist: there are a, b`)
	f := cast(t)
	f.denied = fmt.Errorf("read the events: %w", cluster.ErrDenied)
	require.Equal(t, 1, weir(t, f, "describe", "service", "a").code, "without its events it would not be all that is known")
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "describe", "service", "a").code)
}
