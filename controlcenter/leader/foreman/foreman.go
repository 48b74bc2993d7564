package foreman

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/placement"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
)

// Store is what the foreman reads of etcd.
type Store interface {
	// WatchOperations tells fn what nodes and launchers say, at once and at each change, until the context ends.
	WatchOperations(ctx context.Context, fn func(*cluster.Operations)) error
}

// Writer writes decisions of one leadership.
type Writer interface {
	Write(ctx context.Context, decisions ...cluster.Decision) (int64, error)
}

// Config is what a foreman needs.
type Config struct {
	Name     string // of the control center: events tell it
	Store    Store
	Writer   Writer
	Snapshot func() *cluster.Snapshot                      // the newest; nil: none yet
	Measured func() map[string]map[string]loadmon.Measured // what load monitors said last, by service and instance
	Hosts    func() map[string]Host                        // what they said of nodes; nil: nothing
	Interval time.Duration                                 // at which Heard is to be expected
	Logger   *slog.Logger
}

// Foreman looks after launched instances during one leadership.
type Foreman struct {
	c      Config
	runner *runner.Runner
	heard  atomic.Uint64 // how often reports came in

	// Of the loop alone.
	placed  placement.State
	scales  map[string]*scaled
	wrote   int64 // the revision of the last write
	wroteOn int64 // that of the last write that a snapshot shows
	asOf    cluster.AsOf

	mu     sync.Mutex
	ops    *cluster.Operations // nil: not told yet
	report Report
}

// New makes one for one leadership; nothing runs before Run.
func New(c Config) *Foreman {
	f := &Foreman{c: c, scales: map[string]*scaled{}}
	if f.c.Logger == nil {
		f.c.Logger = slog.New(slog.DiscardHandler)
	}
	f.runner = runner.New(f.once, runner.Options{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond, Failed: func(err error, retry time.Duration) {
		f.c.Logger.Warn("cannot look after launched instances", "err", err, "retry", retry)
	}})
	return f
}

// Run looks after instances until the context, and with it the leadership, ends, and returns nil then.
func (f *Foreman) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.runner.Run(ctx) })
	g.Go(func() error {
		err := f.c.Store.WatchOperations(ctx, f.hear)
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	return g.Wait()
}

func (f *Foreman) hear(ops *cluster.Operations) {
	f.mu.Lock()
	f.ops = ops
	f.mu.Unlock()
	f.runner.Kick()
}

// Heard says that Measured has something new: how many instances there should be is decided from it at once, not at a time
// that has nothing to do with it.
func (f *Foreman) Heard() {
	f.heard.Add(1)
	f.runner.Kick()
}

// once decides once, and writes what was decided.
func (f *Foreman) once(ctx context.Context) error {
	f.mu.Lock()
	ops := f.ops
	f.mu.Unlock()
	s := f.c.Snapshot()
	if s == nil || ops == nil || ops.Revision < f.wrote || s.Revision < f.wroteOn {
		return nil // what was written last would be decided again
	}
	if behind(s, ops) {
		return nil
	}
	f.asOf = cluster.AsOf{Config: s.Configured, Scaled: ops.Revision}
	var m misses
	if s.Config != nil && s.Config.Paused {
		f.pause(ops)
	} else {
		f.decide(ctx, s, ops, &m)
	}
	if !m.over {
		f.tellCrashes(ctx, ops, &m)
	}
	if err := m.err(); !errors.Is(err, cluster.ErrStale) {
		return err
	}
	return nil // what was said comes by itself
}

// decide decides and writes.
func (f *Foreman) decide(ctx context.Context, s *cluster.Snapshot, ops *cluster.Operations, m *misses) {
	want := f.wants(ctx, s, ops, m)
	if m.over {
		return
	}
	next, actions, problems := placement.Plan(f.placed, placement.Input{
		Now: time.Now(), Snapshot: s, Operations: ops, Want: counts(want), Connections: f.connections(), Hosts: f.heats(), Shares: f.shares(),
	})
	f.tell(s, ops, want, actions, append(problems, Unheard(s, ops)...))
	f.placed = next
	m.of = nil // a number that is not written leaves the one of before, which actions were made from
	for _, a := range actions {
		if about := subject(a); !m.of[about] && m.note(about, f.carry(ctx, a)) {
			return
		}
	}
}

// behind says whether a service was withdrawn that the snapshot still shows: by it the withdrawal would be taken for that of an
// older service of the same name, and be forgotten.
func behind(s *cluster.Snapshot, ops *cluster.Operations) bool {
	for name, w := range ops.Scaled {
		if _, published := s.Services.Get(name); published && w.Withdrawn && w.ModRevision > s.Revision {
			return true
		}
	}
	return false
}

// write writes decisions, and has nothing decided anew before they are seen. What an operator said after what they were made from
// keeps them from being written, a pause above all.
func (f *Foreman) write(ctx context.Context, decisions ...cluster.Decision) error {
	revision, err := f.c.Writer.Write(ctx, append(slices.Clone(decisions), f.asOf)...)
	if err != nil {
		return err
	}
	f.asOf.Scaled = max(f.asOf.Scaled, revision) // nobody but this leader said anything up to there
	if slices.ContainsFunc(decisions, shown) {
		f.wroteOn = max(f.wroteOn, revision)
	}
	if slices.ContainsFunc(decisions, told) {
		f.wrote = max(f.wrote, revision)
	}
	return nil
}

// carry writes one action whole.
func (f *Foreman) carry(ctx context.Context, a placement.Action) error {
	decisions := a.Decisions
	if a.Event.What != "" {
		e := a.Event
		e.By = f.c.Name
		decisions = append(slices.Clone(decisions), e)
	}
	if err := f.write(ctx, decisions...); err != nil {
		return err
	}
	if a.Event.What != "" {
		f.c.Logger.Info(a.Event.What, "service", a.Event.Service, "reason", a.Event.Reason)
	}
	return nil
}

// shown says whether a snapshot shows a decision, whatever else became of what it was written with. What changes net/ is
// written together with one that does.
func shown(d cluster.Decision) bool {
	_, ok := d.(cluster.Acknowledge)
	return ok
}

// told says whether what launchers and operators say shows a decision. Waited for in vain it would stop all work where no agent
// answers.
func told(d cluster.Decision) bool { return !shown(d) }

// Launching are the nodes that have a launcher, in no order: how busy they are matters also where nothing of ours runs.
func (f *Foreman) Launching() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ops != nil {
		for name := range f.ops.Launchers {
			names = append(names, name)
		}
	}
	return names
}

func (f *Foreman) connections() map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for service, instances := range f.c.Measured() {
		out[service] = map[string]float64{}
		for id, m := range instances {
			out[service][id] = float64(m.Active)
		}
	}
	return out
}
