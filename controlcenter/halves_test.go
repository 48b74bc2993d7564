package controlcenter_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// launchedService is a service that Weir runs.
func launchedService(t *testing.T, name, frontend string, replicas int) *cluster.Service {
	t.Helper()
	s := storetest.Service(t, name, frontend)
	s.Run, s.Replicas = &cluster.Run{Command: []string{"/bin/" + name}}, &replicas
	return s
}

func TestAChangeThatTakesAwayHalfHasToBeMeant(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scaled cluster.Scaled
		change func(*cluster.Service)
		gone   string // "": it is done
	}{
		"fewer replicas":  {change: func(s *cluster.Service) { *s.Replicas = 0 }, gone: "6 of all 8"},
		"a few fewer":     {change: func(s *cluster.Service) { *s.Replicas = 2 }},
		"no run any more": {change: func(s *cluster.Service) { s.Run, s.Replicas = nil, nil }, gone: "6 of all 8"},
		"run by somebody else": {change: func(s *cluster.Service) {
			s.Run, s.Replicas = &cluster.Run{Driver: cluster.DriverExternal, Instances: []cluster.Instance{{ID: "x", Addr: netip.MustParseAddr("192.168.9.9"), Port: 80, Weight: 1}}}, nil
		}, gone: "6 of all 8"},
		"nothing said of replicas":  {change: func(s *cluster.Service) { s.Replicas = nil }, gone: "5 of all 8"},
		"a smaller most":            {change: func(s *cluster.Service) { s.Replicas, s.Scale = nil, scale(0, 1) }, gone: "5 of all 8"},
		"the load may want as many": {change: func(s *cluster.Service) { s.Replicas, s.Scale = nil, scale(0, 9) }},
		"an operator's number": {
			scaled: cluster.Scaled{Replicas: 6, Pinned: true}, change: func(s *cluster.Service) { *s.Replicas = 0 },
		},
		"another command": {change: func(s *cluster.Service) { s.Run.Command = []string{"/bin/other"} }},
	} {
		f := storetest.New()
		f.Put(t, launchedService(t, "a", "10.10.1.1:80", 6), launchedService(t, "b", "10.10.1.2:80", 2))
		ops := assigned(map[string]int{"a": 6, "b": 2})
		ops.Scaled["a"] = test.scaled
		f.Operate(*ops)
		s := launchedService(t, "a", "10.10.1.1:80", 6)
		test.change(s)
		var shown []string
		how := controlcenter.How{Show: func(p controlcenter.Plan) { shown = append(shown, p.String()) }}
		_, err := controlcenter.Publish(t.Context(), f, entry(s), how)
		if test.gone == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, cluster.ErrUnsafe, name)
		require.ErrorContains(t, err, "it would stop "+test.gone+" instances", name)
		require.Regexp(t, "^service a would (change|be withdrawn)\n", shown[0], "what is refused is shown, and not as if it were done")
		require.NotContains(t, shown[0], "more than half", "why is said by the error, once")
		require.Zero(t, f.Writes(), name)
		how.Force = true
		_, err = controlcenter.Publish(t.Context(), f, entry(s), how)
		require.NoError(t, err, name)
	}
}

func scale(least, most int) *cluster.Scale {
	return &cluster.Scale{Min: least, Max: most, Metrics: []cluster.ScaleMetric{{Metric: "busy", Target: 0.5}}}
}

func TestListedInstancesCountAsWell(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80"))
	f.Put(t, storetest.Service(t, "b", "10.10.1.2:80", "192.168.1.4:80", "192.168.1.5:80"))
	one := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80")
	_, err := controlcenter.Publish(t.Context(), f, entry(one), controlcenter.How{})
	require.NoError(t, err, "two of five")
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80"))
	_, err = controlcenter.Publish(t.Context(), f, append(entry(one), entry(storetest.Service(t, "b", "10.10.1.2:80", "192.168.1.4:80"))...), controlcenter.How{})
	require.ErrorContains(t, err, "it would stop 3 of all 5", "together")
	require.Equal(t, 1, f.Writes())
	_, err = controlcenter.Withdraw(t.Context(), f, "a", controlcenter.How{})
	require.ErrorContains(t, err, "3 of all 5")
	replaced := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.7:80", "192.168.1.8:80", "192.168.1.9:80")
	_, err = controlcenter.Publish(t.Context(), f, entry(replaced), controlcenter.How{})
	require.NoError(t, err, "others in their place")
	_, err = controlcenter.Withdraw(t.Context(), f, "a", controlcenter.How{Force: true})
	require.NoError(t, err)
	_, err = controlcenter.Withdraw(t.Context(), f, "b", controlcenter.How{})
	require.NoError(t, err, "of a few nothing is said")
}

// A store that does not tell what runs is not taken for one where nothing does.
func TestWhatRunsHasToBeKnown(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, launchedService(t, "a", "10.10.1.1:80", 6))
	f.Operate(*assigned(map[string]int{"a": 6}))
	s := launchedService(t, "a", "10.10.1.1:80", 0)
	snapshot := snapshot(t, f)
	plans, err := controlcenter.PlanAll(snapshot, entry(s))
	require.NoError(t, err)
	f.Fail(storetest.ErrUnreachable)
	require.ErrorIs(t, controlcenter.Weigh(t.Context(), f, snapshot, plans), cluster.ErrUnreachable)
	_, err = controlcenter.PlanWithdraw(t.Context(), f, snapshot, "nobody")
	require.ErrorIs(t, err, cluster.ErrUnreachable)
}

// A service whose key was deleted by hand, or that nobody can read, can still be withdrawn while something of it runs.
func TestWithdrawWhatIsLeft(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, launchedService(t, "b", "10.10.1.2:80", 6))
	ops := assigned(map[string]int{"a": 2, "b": 6})
	ops.Launched = map[string]map[string]cluster.Launched{"n1": {"c-1": {Service: "c", Phase: cluster.PhaseReady}, "c-2": {Service: "c", Phase: cluster.PhaseStopped}}}
	f.Operate(*ops)
	for service, n := range map[string]string{"a": "2", "c": "1"} {
		plan, err := controlcenter.PlanWithdraw(t.Context(), f, snapshot(t, f), service)
		require.NoError(t, err)
		require.Contains(t, plan.String(), "- "+n+" instances that run")
		require.Equal(t, cluster.Withdraw{Service: &cluster.Service{Name: service, Run: &cluster.Run{}}}, plan.Change())
		_, err = controlcenter.Withdraw(t.Context(), f, service, controlcenter.How{})
		require.NoError(t, err)
		_, err = controlcenter.PlanWithdraw(t.Context(), f, snapshot(t, f), service)
		require.ErrorContains(t, err, "does not exist", "it is withdrawn already")
	}
}
