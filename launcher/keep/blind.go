package keep

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// blind is what is done for an instance whose driver does not say what runs: it may run already, so it is not started. Why nothing
// becomes of it is told, unless something was told before: by that it may have been ready for days.
func (w *ward) blind(ctx context.Context, n news, driver string) (again time.Duration) {
	why := w.keeper.blindness(driver)
	if why == nil {
		return idle // the first look is under way
	}
	a, p := n.assignment, problem(w.id, "run", fmt.Errorf("driver %s does not say what runs: %w", driver, why))
	l := cluster.Launched{Kind: a.Kind, Service: a.Service, For: a.For, Phase: cluster.PhaseStarting, Version: a.Version, Since: n.now.UTC().Truncate(time.Millisecond), Problem: &p}
	if err := w.keeper.c.Store.Introduce(ctx, w.keeper.c.Node, w.id, l); err != nil && ctx.Err() == nil {
		w.keeper.c.Logger.Debug("tell of an instance", "instance", w.id, "err", err)
		w.keeper.c.Metrics.failures.Inc()
		return time.Second
	}
	return idle
}

// blindness is why a driver did not say what runs when it was last asked; nil: it did, or was not asked so far.
func (k *Keeper) blindness(driver string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.looked[driver]
}
