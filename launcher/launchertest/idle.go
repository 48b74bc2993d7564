package launchertest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weir-lb/weir/launcher"
)

// Idle is a driver that starts nothing: its instances run in name only, and never end by themselves. For many of them.
type Idle struct {
	mu     sync.Mutex
	there  map[string]launcher.Status
	starts []launcher.Spec
}

// Ensure notes that an instance runs, unless it does.
func (d *Idle) Ensure(_ context.Context, spec launcher.Spec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, runs := d.there[spec.ID]; runs {
		return nil
	}
	if d.there == nil {
		d.there = map[string]launcher.Status{}
	}
	d.starts = append(d.starts, spec)
	d.there[spec.ID] = launcher.Status{ID: spec.ID, Service: spec.Service, State: launcher.Running, PID: 1, Started: time.Now(), Starts: 1}
	return nil
}

// Stop forgets an instance.
func (d *Idle) Stop(_ context.Context, id string, _ time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.there, id)
	return nil
}

// List is what runs.
func (d *Idle) List(context.Context) ([]launcher.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.there)), nil
}

// Starts are all that were ever started, in order.
func (d *Idle) Starts() []launcher.Spec {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.starts)
}
