package keep

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher"
)

// Keeper keeps one node's instances.
type Keeper struct {
	c      Config
	herald *herald
	slots  map[string]chan struct{} // by driver: a place for each start that may be under way

	mu       sync.Mutex
	wards    map[string]*ward
	assigned bool // the store has said at least once what is to be kept
	problems []cluster.Problem
	looked   map[string]error // by driver, how the last look at it went
	running  sync.WaitGroup
}

// New checks the configuration; nothing runs before Run.
func New(c Config) (*Keeper, error) {
	c, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("keep instances: %w", err)
	}
	k := &Keeper{c: c, herald: newHerald(c), slots: map[string]chan struct{}{}, wards: map[string]*ward{}, looked: map[string]error{}}
	for name := range c.Drivers {
		k.slots[name] = make(chan struct{}, c.Starts)
	}
	return k, nil
}

// Run keeps the node's instances until the context ends, and returns nil then. They run on.
func (k *Keeper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return k.c.Store.WatchAssigned(ctx, k.c.Node, func(a map[string]cluster.Assignment, p []cluster.Problem) { k.assign(ctx, a, p) })
	})
	g.Go(func() error { return k.c.Store.Launching(ctx, k.c.Node, k.c.Self) })
	g.Go(func() error { return k.herald.run(ctx) })
	for name, driver := range k.c.Drivers {
		g.Go(func() error {
			for k.look(ctx, name, driver); runner.Sleep(ctx, k.c.look(name)); k.look(ctx, name, driver) {
			}
			return nil
		})
	}
	err := g.Wait()
	k.running.Wait()
	return err
}

// assign hands each instance what is wanted of it.
func (k *Keeper) assign(ctx context.Context, assigned map[string]cluster.Assignment, problems []cluster.Problem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.assigned, k.problems = true, problems
	for id, a := range assigned {
		k.ward(ctx, id).assign(&a)
	}
	for id, w := range k.wards {
		if _, there := assigned[id]; !there {
			w.assign(nil)
		}
	}
	k.c.Metrics.assigned.Set(float64(len(assigned)))
}

// ward is the one of an id; k.mu is held.
func (k *Keeper) ward(ctx context.Context, id string) *ward {
	w := k.wards[id]
	if w == nil {
		w = newWard(k, id)
		k.wards[id] = w
		k.running.Go(func() {
			for w.run(ctx); !k.dismiss(ctx, w); w.run(ctx) {
			}
		})
	}
	return w
}

// dismiss forgets a ward, unless something came in since it found that there is nothing to look after.
func (k *Keeper) dismiss(ctx context.Context, w *ward) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ctx.Err() == nil && !w.empty() {
		return false
	}
	delete(k.wards, w.id)
	return true
}

// look asks a driver how its instances are. One that nobody assigned is looked after too: it runs on, and the leader is told.
func (k *Keeper) look(ctx context.Context, name string, driver launcher.Driver) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	began := time.Now()
	statuses, err := driver.List(limited)
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && k.looked[name] == nil {
		k.c.Logger.Error("look at instances", "driver", name, "err", err)
		defer k.nudge() // once it is noted
	}
	k.looked[name] = err
	k.c.Metrics.looked(err)
	if err != nil && len(statuses) == 0 {
		return // nothing is known, which says nothing of any instance
	}
	seen := map[string]bool{}
	for _, st := range statuses {
		seen[st.ID] = true
		k.ward(ctx, st.ID).see(name, &st, began)
	}
	for id, w := range k.wards {
		if !seen[id] && err == nil {
			w.see(name, nil, began)
		}
	}
}

// nudge has every ward look what is new; k.mu is held.
func (k *Keeper) nudge() {
	for _, w := range k.wards {
		w.nudge()
	}
}

// told says whether the store has said what is to be kept.
func (k *Keeper) told() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.assigned
}

// Ready says why the node cannot launch now, or nil.
func (k *Keeper) Ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.assigned {
		return fmt.Errorf("etcd has not said yet what is to be launched here")
	}
	for _, name := range slices.Sorted(maps.Keys(k.looked)) {
		if err := k.looked[name]; err != nil {
			return fmt.Errorf("driver %s: %w", name, err)
		}
	}
	return nil
}
