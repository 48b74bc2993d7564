package main

import (
	"context"
	"time"

	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/runner"
)

// sampleCounts counts the connections of this node for a while. Totals would not do: a slot counts since it was written,
// so that after a change the older ones would seem to get more. Where there is no kernel of a node to ask, or no right
// to, nothing is counted.
func sampleCounts(ctx context.Context, d time.Duration) controlcenter.Counts {
	before := readCounts(ctx)
	if len(before) == 0 {
		return nil
	}
	if !runner.Sleep(ctx, d) {
		return nil
	}
	return readCounts(ctx).Since(before)
}

func readCounts(ctx context.Context) controlcenter.Counts {
	d, _, err := new(driverFlags).look(ctx)
	if err != nil {
		return nil
	}
	defer d.Close()
	counts, err := d.Counters(ctx)
	if err != nil {
		return nil
	}
	return counts
}
