package keep

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// stop ends an instance. It is taken back from the nodes first.
func (w *ward) stop(ctx context.Context, n news) time.Duration {
	a := n.assignment
	if w.launched.Phase == cluster.PhaseStopped && n.status == nil {
		return idle
	}
	w.ready = false
	w.told(a, n, cluster.PhaseStopping, nil)
	begin, grace := time.Now(), time.Duration(cmp.Or(a.Run.Grace, cluster.DefaultGrace))
	ran := n.status != nil && n.status.State == launcher.Running
	if err := w.end(ctx, a); err != nil {
		if ctx.Err() == nil {
			w.keeper.c.Logger.Error("stop an instance", "instance", w.id, "err", err)
			p := problem(w.id, "", err)
			w.stuck = &cluster.Launched{Problem: &p}
			w.told(a, n, cluster.PhaseStopping, nil)
		}
		return time.Second
	}
	n.status = nil
	w.told(a, n, cluster.PhaseStopped, func(l *cluster.Launched) {
		if ran && time.Since(begin) >= grace {
			l.Problem = &cluster.Problem{Object: "instance " + w.id, Field: "run.grace", What: fmt.Sprintf("it did not end within %s of TERM, and was killed", grace), Fix: "let it end on TERM, or give it more time"}
			w.keeper.c.Logger.Warn("an instance did not end by itself, and was killed", "service", a.Service, "instance", w.id, "grace", grace.String())
		}
	})
	return idle
}

// end ends what runs of the instance, whoever runs it.
func (w *ward) end(ctx context.Context, a *cluster.Assignment) error {
	for _, name := range w.holders(a) {
		if err := w.keeper.c.Drivers[name].Stop(ctx, w.id, time.Duration(a.Run.Grace)); err != nil {
			return fmt.Errorf("driver %s: %w", name, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.mailbox.statuses)
	w.mailbox.gone = time.Now()
	return nil
}

// holders are the drivers that may have the instance: the one that was to start it, and those that say so. No other is asked,
// as it may be out of reach.
func (w *ward) holders(a *cluster.Assignment) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.keeper.c.Drivers)) {
		if w.mailbox.statuses[name] != nil || name == orProcess(a.Run.Driver) {
			names = append(names, name)
		}
	}
	return names
}
