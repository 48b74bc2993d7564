package traffic

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// TestCountingBesideWrites requires that one goroutine may count while another writes: neither sees the other's answers,
// and nothing that was counted is lost. It tells most with the race detector.
func TestCountingBesideWrites(t *testing.T, d Driver, rounds int) {
	here := rulestest.Service("here", "10.10.1.1 fd10::1", 80, "192.168.10.5:80", "[fd00:10::5]:80")
	for i := range here.Instances {
		here.Instances[i].Node = "n1"
	}
	want := func(others int) *rules.Ruleset {
		services := []*cluster.Service{here}
		for i := range others {
			services = append(services, rulestest.Service(string(rune('a'+i)), "10.10.1."+string(rune('2'+i)), 80, instances...))
		}
		return rulestest.Ruleset(rules.Options{Node: "n1"}, services...)
	}
	rulestest.Install(t, d, want(1))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var counted atomic.Int32
	var counters errgroup.Group
	counters.Go(func() error {
		for ; ctx.Err() == nil; counted.Add(1) {
			local, err := d.LocalCounts(ctx)
			if err == nil && len(local) != 2 {
				err = errors.New("an instance of this node is not counted")
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
			if _, err := d.Counters(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	for i := 0; i < rounds || counted.Load() < 3; i++ {
		rulestest.Install(t, d, want(i%5))
		state, err := d.Read(t.Context())
		require.NoError(t, err)
		require.Empty(t, rules.Diff(state, want(i%5)).String())
	}
	stop()
	require.NoError(t, counters.Wait())
}
