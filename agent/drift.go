package agent

import (
	"context"
	"time"

	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// watchDrift kicks a pass whenever somebody else changed our rules. If the watch itself fails, anything may have
// happened meanwhile.
func (a *Agent) watchDrift(ctx context.Context) error {
	for {
		err := a.c.Driver.Watch(ctx, a.foreign)
		if ctx.Err() != nil {
			return nil
		}
		a.c.Metrics.failures.WithLabelValues("watch rules").Inc()
		a.c.Logger.Error("watch rules", "err", err, "retry", time.Second)
		if !runner.Sleep(ctx, time.Second) {
			return nil
		}
		a.foreign(rules.Foreign{What: "the watch was interrupted"})
	}
}

func (a *Agent) foreign(f rules.Foreign) {
	a.mu.Lock()
	if len(a.inbox.foreign) == 0 {
		a.inbox.noticed = time.Now()
	}
	if len(a.inbox.foreign) < 100 {
		a.inbox.foreign = append(a.inbox.foreign, f)
	}
	a.mu.Unlock()
	a.syncer.Kick()
}
