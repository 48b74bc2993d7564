package rules_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// kernel is a fake that never fails by chance, with what was verified of it.
type kernel struct {
	*rulestest.Fake
	have *rules.State
}

func newKernel(t testing.TB) *kernel {
	k := &kernel{Fake: rulestest.NewFake(1)}
	k.FailPct = 0
	k.have = k.read(t)
	return k
}

func (k *kernel) read(t require.TestingT) *rules.State {
	state, err := k.Read(context.Background())
	require.NoError(t, err)
	return state
}

func (k *kernel) carry(t require.TestingT, want *rules.Ruleset) []cluster.Problem {
	problems, err := rules.Carry(context.Background(), k.Fake, k.have, rules.Diff(k.have, want))
	require.NoError(t, err)
	require.Equal(t, withoutProblems(k.read(t)), withoutProblems(k.have), "the state differs from the kernel")
	return problems
}

// withoutProblems is what the kernel holds, without what only the process knows.
func withoutProblems(s *rules.State) string {
	return (&rules.State{Damage: s.Damage, Sets: s.Sets, Placed: s.Placed}).String()
}

// A frontend that the kernel refuses keeps what it had, and everything else is applied.
func TestCarryQuarantine(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		k := newKernel(t)
		k.Late = late
		one, two := instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 1)
		a, b, c := service("a", "10.10.1.1", one), service("b", "10.10.1.2", one), service("c", "10.10.1.3", one)
		want := rules.Build(nil, snapshot(a, b, c), rules.Options{})
		require.Empty(t, k.carry(t, want))

		// All three get a second instance, and b's is refused.
		k.Reject = func(change rules.Change) bool { return change.Frontend == frontendOf(b) && change.Want.Size == 2 }
		grown := func(s *cluster.Service) *cluster.Service {
			copied := *s
			copied.Instances = []cluster.Instance{one, two}
			return &copied
		}
		want = rules.Build(want, snapshot(grown(a), grown(b), grown(c)), rules.Options{})
		problems := k.settle(t, want)
		require.Len(t, problems, 1)
		require.Equal(t, "service b: frontend 10.10.1.2:80", problems[0].Object+": "+problems[0].Field)
		require.Equal(t, 1, k.have.Placed[frontendOf(b)].Size, "what it had")
		require.Equal(t, 2, k.have.Placed[frontendOf(a)].Size)
		require.Equal(t, 2, k.have.Placed[frontendOf(c)].Size)
		require.Contains(t, k.have.Quarantined(), frontendOf(b))
		require.Contains(t, k.have.String(), "problem service b: frontend 10.10.1.2:80")

		// It is left alone while it stays as it is, and stays a problem.
		commits := k.Commits
		require.Equal(t, problems, k.carry(t, rules.Build(want, snapshot(grown(a), grown(b), grown(c)), rules.Options{})))
		require.Equal(t, commits, k.Commits)

		// It is tried again when it changes.
		k.Reject = nil
		three := grown(b)
		three.Instances = append(three.Instances, instance("192.168.10.3:80", 1))
		want = rules.Build(want, snapshot(grown(a), three, grown(c)), rules.Options{})
		require.Empty(t, k.carry(t, want))
		require.Equal(t, 3, k.have.Placed[frontendOf(b)].Size)
		require.Empty(t, k.have.Quarantined())
	}
}

// settle carries as an agent does: after an error it reads and tries again.
func (k *kernel) settle(t require.TestingT, want *rules.Ruleset) []cluster.Problem {
	for range 100 {
		problems, err := rules.Carry(context.Background(), k.Fake, k.have, rules.Diff(k.have, want))
		if err == nil {
			require.Equal(t, withoutProblems(k.read(t)), withoutProblems(k.have), "the state differs from the kernel")
			return problems
		}
		require.ErrorIs(t, err, rules.ErrShadow)
		k.have = k.read(t)
	}
	require.Fail(t, "never settles")
	return nil
}

func TestCarryQuarantineEndsWithTheService(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	a, b := service("a", "10.10.1.1", instance("192.168.10.1:80", 1)), service("b", "10.10.1.2", instance("192.168.10.1:80", 1))
	k.Reject = func(change rules.Change) bool {
		return change.Frontend == frontendOf(b) && change.Want.Mode != rules.Absent
	}
	want := rules.Build(nil, snapshot(a, b), rules.Options{})
	require.Len(t, k.carry(t, want), 1)
	require.Contains(t, k.have.Placed, frontendOf(a))
	require.NotContains(t, k.have.Placed, frontendOf(b))
	require.Empty(t, k.carry(t, rules.Build(want, snapshot(a), rules.Options{})))
	require.Empty(t, k.have.Quarantined())
}

// Whatever frontends are refused, in whichever transaction: everybody else is served as wanted, and nobody's packets
// are lost.
func TestCarryRefusesOnlyTheCause(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := &kernel{Fake: rulestest.NewFake(rapid.Uint64().Draw(t, "seed"))}
		k.FailPct = 2 // each failure voids a whole search for the cause
		k.Late = rapid.Bool().Draw(t, "late")
		bad := map[uint16]bool{uint16(rapid.IntRange(80, 82).Draw(t, "bad port")): true}
		k.Reject = func(c rules.Change) bool { return bad[c.Frontend.Port] }
		k.have = k.read(t)
		clusters := rulestest.NewClusters()
		var want *rules.Ruleset
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			want = rules.Build(want, clusters.Next(t), rules.Options{})
			problems := k.settle(t, want)
			require.Len(t, problems, len(k.have.Quarantined()))
			for f := range k.have.Quarantined() {
				require.True(t, bad[f.Port], "%s is in quarantine", f)
			}
			require.Empty(t, rules.Diff(k.have, want).String())
		}
		k.Reject = nil
		k.have = k.read(t)
		require.Empty(t, k.settle(t, want))
		require.Equal(t, withoutProblems(k.have), withoutProblems(k.read(t)))
		require.Empty(t, k.Lost)
	})
}

// What spans the frontends is not in doubt because of one of them; if it is refused itself, that is an error.
func TestCarryErrors(t *testing.T) {
	t.Parallel()
	want := rules.Build(nil, snapshot(service("a", "10.10.1.1", instance("192.168.10.1:80", 1))), rules.Options{})
	for _, c := range []struct {
		name    string
		failing failing
		err     error
	}{
		{"not permitted", failing{rules.ErrPermission, 0}, rules.ErrPermission},
		{"the frame is rejected", failing{rules.ErrRejected, 0}, rules.ErrRejected},
		{"the shadow was wrong", failing{rules.ErrShadow, 0}, rules.ErrShadow},
		{"it is owned while parts are tried", failing{rules.ErrOwned, 2}, rules.ErrOwned},
	} {
		k := newKernel(t)
		plan := rules.Diff(k.have, want)
		_, err := rules.Carry(t.Context(), &breaking{Driver: k.Fake, failing: c.failing}, k.have, plan)
		require.ErrorIs(t, err, c.err, c.name)
	}
}

// failing is an error after a number of rejections.
type failing struct {
	err   error
	after int
}

type breaking struct {
	rules.Driver
	failing
}

func (b *breaking) Apply(ctx context.Context, plan *rules.Plan) error {
	if b.after > 0 {
		if b.after--; len(plan.Changes) > 0 {
			return errors.Join(rules.ErrRejected)
		}
		return b.Driver.Apply(ctx, plan)
	}
	return b.err
}
