package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/internal/top"
	"github.com/weir-lb/weir/loadmon"
)

// observer knows what weir top shows. Several goroutines tell it, each of something else.
type observer struct {
	*app
	store store
	asker *asker

	mu       sync.Mutex // guards what follows
	snapshot *cluster.Snapshot
	fleet    controlcenter.Fleet
	past     top.Past
	board    top.Board
	notes    map[string]string // by what they are about: what could not be learnt
}

// observe begins with what etcd says now, so that one that cannot be reached is an error, and not an empty picture.
func (a *app) observe(ctx context.Context, s store) (*observer, error) {
	w := &observer{app: a, store: s, asker: a.asker(s), notes: map[string]string{}}
	if err := w.look(ctx); err != nil {
		w.asker.Close()
		return nil, err
	}
	return w, nil
}

// look reads everything once.
func (w *observer) look(ctx context.Context) error {
	snapshot, err := w.app.snapshot(ctx, w.store)
	if err != nil {
		return err
	}
	fleet, err := w.app.fleet(ctx, w.store)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.snapshot, w.fleet.Alive, w.fleet.Applied = snapshot, fleet.Alive, fleet.Applied
	w.mu.Unlock()
	w.readBeside(ctx)
	return nil
}

// readBeside reads what is said of nodes in keys of their own.
func (w *observer) readBeside(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.etcd.timeout)
	defer cancel()
	repairs, err := w.store.Repairs(ctx)
	w.note("repairs", err)
	gone, err2 := w.store.Gone(ctx)
	w.note("gone", err2)
	loadmons, err3 := w.store.Loadmons(ctx)
	w.note("loadmons", err3)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.fleet.Repairs = repairs
	}
	if err2 == nil {
		w.fleet.Gone = gone
	}
	if err3 == nil {
		w.fleet.Loadmons = loadmons
	}
}

// note keeps what could not be learnt, until it can. The end of the command is no reason.
func (w *observer) note(about string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if delete(w.notes, about); err != nil {
		w.notes[about] = err.Error()
	}
}

// ask asks the load monitors.
func (w *observer) ask(ctx context.Context) (asked bool) {
	w.mu.Lock()
	snapshot := w.snapshot
	w.mu.Unlock()
	note := w.asker.ask(ctx, snapshot, top.Asked(snapshot), func(node string, a top.Answer) {
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.past.Hear(node, a, w.snapshot, w.now())
	})
	var err error
	if note != "" && ctx.Err() == nil {
		err = errors.New(note)
	}
	w.note("loads", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past.Forget(func(node string) bool {
		_, there := w.snapshot.Nodes.Get(node)
		return there
	})
	return note == ""
}

// once is one picture, after the time in which every load monitor says something new.
func (w *observer) once(ctx context.Context) (top.Frame, error) {
	if w.ask(ctx) {
		if !runner.Sleep(ctx, loadmon.Interval) {
			return top.Frame{}, ctx.Err()
		}
		if err := w.look(ctx); err != nil {
			return top.Frame{}, err
		}
		w.ask(ctx)
	}
	return w.frame(), nil
}

func (w *observer) frame() top.Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	var notes []string
	if st := w.store.Status(); !st.Connected && st.LastError != "" {
		notes = append(notes, fmt.Sprintf("etcd does not answer since %s, and what it says is from then: %s", st.Since.UTC().Format("15:04:05Z"), st.LastError))
	}
	if h := w.snapshot.Held; h != nil {
		notes = append(notes, fmt.Sprintf("the deletion of %d services is held back: %s: see weir guard", h.Deleted, h.Reason))
	}
	for _, about := range slices.Sorted(maps.Keys(w.notes)) {
		notes = append(notes, w.notes[about])
	}
	return w.board.Frame(top.Scene{Snapshot: w.snapshot, Fleet: w.fleet, Past: &w.past, Now: w.now(), Notes: notes})
}

// besideEvery is how often keys are read that are not watched.
const besideEvery = 5 * time.Second

// run keeps up with the cluster and draws: every so often, and when told to, until the context ends or drawing fails. It
// returns nil when the context has ended.
func (w *observer) run(ctx context.Context, every time.Duration, now <-chan struct{}, draw func() error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return w.store.Watch(ctx, etcd.WatchOptions{}, func(s *cluster.Snapshot) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.snapshot = s
		})
	})
	g.Go(func() error {
		w.note("nodes", w.followNodes(ctx))
		return nil
	})
	repeat := func(every time.Duration, do func()) func() error {
		return func() error {
			for do(); runner.Sleep(ctx, every); {
				do()
			}
			return nil
		}
	}
	g.Go(repeat(every, func() { w.ask(ctx) }))
	g.Go(repeat(besideEvery, func() { w.readBeside(ctx) }))
	g.Go(func() error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if err := draw(); err != nil {
				return fmt.Errorf("print the picture: %w", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-now:
			case <-tick.C:
			}
		}
	})
	return g.Wait()
}

// followNodes ends with the context, or when the nodes may not be read.
func (w *observer) followNodes(ctx context.Context) error {
	return w.store.WatchApplied(ctx, func(alive map[string]bool, applied map[string]cluster.Applied) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fleet.Alive, w.fleet.Applied = alive, applied
		return false
	})
}
