package rulestest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/rules"
)

// TestDriver holds a driver to the contract of rules.Driver, whatever the history. Open makes a fresh process on the same
// kernel: what it knows, it must have read. The options say what the driver lacks.
func TestDriver(t *testing.T, options rules.Options, open func(testing.TB) rules.Driver) {
	t.Run("nothing is left to do after any history", func(t *testing.T) { history(t, options, open) })
	t.Run("clean removes everything", func(t *testing.T) { clean(t, open) })
}

func history(t *testing.T, options rules.Options, open func(testing.TB) rules.Driver) {
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		d := open(t)
		require.NoError(rt, d.Clean(ctx))
		clusters, options := NewClusters(), options
		options.Node, options.Ping = Nodes[0], rapid.Bool().Draw(rt, "ping")
		have, err := d.Read(ctx)
		require.NoError(rt, err)
		var want *rules.Ruleset
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			snapshot := clusters.Next(rt)
			want = rules.Build(want, snapshot, options)
			have = Settle(rt, d, have, want)
			require.Empty(rt, rules.Diff(have, want).String(), "after Apply")
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				d, have = adopt(rt, t, open, rules.Build(nil, snapshot, options))
			}
		}
		adopt(rt, t, open, rules.Build(nil, clusters.Same(), options))
	})
}

// adopt is a restart: a fresh process finds nothing to write.
func adopt(rt *rapid.T, t *testing.T, open func(testing.TB) rules.Driver, want *rules.Ruleset) (rules.Driver, *rules.State) {
	fresh := open(t)
	read, err := fresh.Read(t.Context())
	require.NoError(rt, err)
	require.Empty(rt, rules.Diff(read, want).String(), "a fresh process writes")
	return fresh, read
}

// Settle applies until nothing is left to do, as an agent does: after a failure it reads again.
func Settle(t require.TestingT, d rules.Driver, have *rules.State, want *rules.Ruleset) *rules.State {
	for range 100 {
		_, err := rules.Carry(context.Background(), d, have, rules.Diff(have, want))
		if err == nil {
			return have
		}
		require.True(t, errors.Is(err, rules.ErrShadow), "%v", err)
		have, err = d.Read(context.Background())
		require.NoError(t, err)
	}
	require.Fail(t, "never settles")
	return nil
}

func clean(t *testing.T, open func(testing.TB) rules.Driver) {
	rapid.Check(t, func(rt *rapid.T) {
		d := open(t)
		have, err := d.Read(t.Context())
		require.NoError(rt, err)
		Settle(rt, d, have, rules.Build(nil, NewClusters().Next(rt), rules.Options{}))
		require.NoError(rt, d.Clean(t.Context()))
		empty, err := open(t).Read(t.Context())
		require.NoError(rt, err)
		require.Empty(rt, empty.Placed)
		require.Empty(rt, empty.Sets[rules.VIPs])
		require.NotEmpty(rt, empty.Damage, "the frame is gone too")
	})
}
