package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// flows keeps the kernel's connection tracking in accord with the rules, which decide over new connections only:
//
//   - An entry that holds a client to an instance that is no longer wanted is deleted, if it is of UDP, or never saw an
//     answer. A UDP flow never ends by itself while its client sends, and a retry must choose anew.
//   - Established TCP is not touched: connections of a drained instance live on. They are counted, so that an operator can
//     wait for their end.
//   - Established TCP to an instance that died ends only where that was asked for.
//
// The table is walked when a target went, not when one came; and again and again, at a bounded cost, only while something
// is left to be counted.
type flows struct {
	logger  *slog.Logger
	metrics *Metrics
	table   tracking
	kill    bool   // end established TCP to instances that are dead
	changed func() // called when there is something new to tell

	again chan time.Duration // when to look again; of size one

	mu   sync.Mutex
	todo todo
	told counted

	departures *departures // owned by reconcile, which never runs twice at a time
}

// tracking is the kernel's table. Tests hand in another.
type tracking interface {
	list(family uint8, pick func(conntrack.Entry) bool) ([]conntrack.Entry, error)
	remove(conntrack.Entry) (existed bool, err error)
	reset(client, to netip.AddrPort) (found bool, err error)
}

// todo is what the passes have left to do since the last run.
type todo struct {
	snapshot    *cluster.Snapshot
	ruleset     *rules.Ruleset
	quarantined map[cluster.Frontend]bool
	gone        map[cluster.Frontend]bool // frontends that went
	walk        bool                      // an entry may have become stale
	again       bool                      // it is time to look again
}

// counted is what is known of live connections to instances that an operator took out.
type counted struct {
	revision int64 // of the snapshot whose departures are counted; 0: never
	flows    map[string]int
}

func newFlows(c Config) *flows {
	return &flows{logger: c.Logger, metrics: c.Metrics, table: kernelTracking{}, kill: c.KillFlows, changed: func() {},
		again: make(chan time.Duration, 1), departures: newDepartures()}
}

// want takes over what the kernel now holds, how it came to be, and says whether a run is called for.
func (f *flows) want(s *cluster.Snapshot, have *rules.State, ruleset *rules.Ruleset, plan *rules.Plan, drifted bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, fresh := f.todo.snapshot == nil, f.todo.snapshot != s
	f.todo.snapshot, f.todo.ruleset, f.todo.quarantined = s, ruleset, nil
	for frontend := range have.Quarantined() {
		set(&f.todo.quarantined, frontend)
	}
	for _, c := range plan.Changes {
		if c.Want.Mode == rules.Absent {
			set(&f.todo.gone, c.Frontend)
		}
		f.todo.walk = f.todo.walk || loses(c)
	}
	f.todo.walk = f.todo.walk || first || drifted
	return fresh || f.todo.walk
}

// loses says whether connections that began before a change may lead where no new one does. A frontend that is new may
// have been sent to without us.
func loses(c rules.Change) bool {
	if c.Have.Mode == rules.Absent {
		return true
	}
	return slices.ContainsFunc(c.Have.Slots, func(target netip.AddrPort) bool { return !slices.Contains(c.Want.Slots, target) })
}

func set(m *map[cluster.Frontend]bool, f cluster.Frontend) {
	if *m == nil {
		*m = map[cluster.Frontend]bool{}
	}
	(*m)[f] = true
}

// reconcile brings the table into accord and counts.
func (f *flows) reconcile(context.Context) error {
	f.mu.Lock()
	todo, before := f.todo, f.told
	f.todo.walk, f.todo.again, f.todo.gone = false, false, nil
	f.mu.Unlock()
	if todo.snapshot == nil {
		return nil
	}
	touched := f.departures.update(todo.snapshot.Services)
	// Somebody may wait for the word of this revision, also when it changed nothing here.
	awaited := before.revision < todo.snapshot.Barrier && f.departures.any()
	if !todo.walk && !todo.again && !touched {
		f.tell(counted{todo.snapshot.Revision, before.flows}, awaited)
		return nil
	}
	start := time.Now()
	found := newSorting(todo, f.departures, f.kill)
	if err := f.walk(found); err != nil {
		f.mu.Lock()
		f.todo.walk = true
		for frontend := range todo.gone {
			set(&f.todo.gone, frontend)
		}
		f.mu.Unlock()
		return err
	}
	f.departures.forget(found.live)
	f.tell(counted{todo.snapshot.Revision, found.counts}, awaited || touched || !maps.Equal(before.flows, found.counts))
	if todo.walk || touched || len(found.counts) > 0 {
		f.lookAgain(time.Since(start))
	}
	return nil
}

// walk goes through the table once for each family that may hold entries of ours, since that costs even when it is empty.
func (f *flows) walk(s *sorting) error {
	var errs []error
	deleted, ended := 0, 0
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if !s.concerns(family) {
			continue
		}
		entries, err := f.table.list(family, s.pick)
		errs = append(errs, err)
		for _, e := range entries {
			existed, err := f.end(e)
			errs = append(errs, err)
			switch {
			case existed && live(e):
				ended++
			case existed:
				deleted++
			}
		}
	}
	if deleted > 0 {
		f.metrics.flows.Add(float64(deleted))
		f.logger.Info("stale flows deleted", "deleted", deleted)
	}
	if ended > 0 {
		f.metrics.ended.Add(float64(ended))
		f.logger.Info("connections to dead instances ended", "ended", ended)
	}
	return errors.Join(errs...)
}

// end deletes an entry. Where it is a live connection a client of this node is told at once; one that is routed meets no
// translation at its next packet, is led to another instance, which knows nothing of it, or to none: either way it is
// answered by a reset.
func (f *flows) end(e conntrack.Entry) (existed bool, err error) {
	if live(e) {
		if _, err = f.table.reset(e.Client, e.To); errors.Is(err, conntrack.ErrNoReset) {
			err = nil // then a local client learns of it as a routed one does
		}
	}
	existed, deleteErr := f.table.remove(e)
	return existed, errors.Join(err, deleteErr)
}

func (f *flows) tell(c counted, news bool) {
	f.mu.Lock()
	f.told = c
	f.mu.Unlock()
	total := 0
	for _, n := range c.flows {
		total += n
	}
	f.metrics.draining.Set(float64(total))
	if news {
		f.changed()
	}
}

// counted is what was last found.
func (f *flows) counted() counted {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// recount is how often what is left is counted; a walk that takes long makes it seldom, so that it uses at most a
// twentieth of one processor.
const recount, share = time.Second, 20

// lookAgain asks for another run. There is one also when nothing was left: a packet that was under way while the rules
// changed may have made its entry after the walk.
func (f *flows) lookAgain(took time.Duration) {
	select {
	case f.again <- max(recount, share*took):
	default: // one is asked for already
	}
}

// follow kicks a run whenever it is time to look again.
func (f *flows) follow(ctx context.Context, kick func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case wait := <-f.again:
			if !runner.Sleep(ctx, wait) {
				return nil
			}
			f.mu.Lock()
			f.todo.again = true
			f.mu.Unlock()
			kick()
		}
	}
}

type kernelTracking struct{}

func (kernelTracking) list(family uint8, pick func(conntrack.Entry) bool) ([]conntrack.Entry, error) {
	return conntrack.List(family, pick)
}

func (kernelTracking) remove(e conntrack.Entry) (bool, error) { return e.Delete() }

func (kernelTracking) reset(client, to netip.AddrPort) (bool, error) {
	return conntrack.Reset(client, to)
}
