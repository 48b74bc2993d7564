package agent

import (
	"context"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// takeOver has what other drivers left removed, once a pass has brought all of a cluster's rules into the kernel: until
// then their rules may be all that keeps services reachable.
func (a *Agent) takeOver(ctx context.Context, s *cluster.Snapshot) error {
	if a.settled || a.c.Settled == nil || !s.Ready && s.Services.Len() == 0 {
		return nil
	}
	err := a.c.Settled(ctx)
	a.settled = err == nil
	return err
}

// host asks what else is wrong with the node, at the start and about as often as the kernel is read for no particular
// reason.
func (a *Agent) host(ctx context.Context) {
	if a.c.Host == nil || time.Since(a.asked) < a.c.FullCheck/2 {
		return
	}
	a.surroundings, a.asked = a.c.Host(ctx), time.Now()
}

// besideEvery is how often other parts of the process are asked for news.
const besideEvery = 2 * time.Second

// beside is what they complain of, for a pass to tell.
func (a *Agent) beside() []cluster.Problem {
	if a.c.Beside == nil {
		return nil
	}
	now := a.c.Beside()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.besides, a.hearings = now, a.hearings+1
	return now
}

// watchBeside has a pass take up what is different there from what the last pass heard, whyever that one came, until the context ends.
func (a *Agent) watchBeside(ctx context.Context) error {
	if a.c.Beside == nil {
		return nil
	}
	var asked []cluster.Problem // to be taken up, after so many hearings: a pass that fails comes again by itself
	after := -1
	for runner.Sleep(ctx, besideEvery) {
		now := a.c.Beside()
		a.mu.Lock()
		before, hearings := a.besides, a.hearings
		a.mu.Unlock()
		if !slices.Equal(now, before) && (hearings != after || !slices.Equal(now, asked)) {
			asked, after = now, hearings
			a.syncer.Kick()
		}
	}
	return nil
}
