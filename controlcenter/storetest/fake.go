// Package storetest has a controlcenter.Store in memory, for tests. It refuses what the real one refuses.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/weir-lb/weir/cluster"
)

// Fake is a store in memory. Its zero value is not usable: call New.
type Fake struct {
	// Before runs in the middle of each Commit, so that a test can be the one who was faster, or make it fail.
	Before func(cluster.Change) error

	mu       sync.Mutex
	draft    *cluster.Draft
	services map[string]*cluster.Service
	admin    map[string]map[string]cluster.Admin
	held     *cluster.Held
	down     error
	ops      cluster.Operations
	revision int64
	writes   int
	follow   []string // nodes that apply each write at once
	alive    map[string]bool
	applied  map[string]cluster.Applied
	changed  chan struct{}
}

// New starts empty, at a revision that is not 0.
func New() *Fake {
	return &Fake{
		draft: cluster.NewDraft(), services: map[string]*cluster.Service{}, admin: map[string]map[string]cluster.Admin{},
		revision: 100, alive: map[string]bool{}, applied: map[string]cluster.Applied{}, changed: make(chan struct{}),
	}
}

// Snapshot implements controlcenter.Store.
func (f *Fake) Snapshot(context.Context) (*cluster.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	return f.draft.Snapshot(f.revision), nil
}

// Operations implements controlcenter.Store.
func (f *Fake) Operations(context.Context) (*cluster.Operations, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	ops := f.ops
	return &ops, nil
}

// Operate replaces what nodes and launchers tell.
func (f *Fake) Operate(ops cluster.Operations) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = ops
	f.move()
}

// Commit implements controlcenter.Store.
func (f *Fake) Commit(_ context.Context, change cluster.Change) (int64, error) {
	if f.Before != nil {
		if err := f.Before(change); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return 0, f.down
	}
	if err := f.apply(change); err != nil {
		return 0, err
	}
	f.writes++
	f.move()
	return f.revision, nil
}

func (f *Fake) apply(change cluster.Change) error {
	switch c := change.(type) {
	case cluster.Publish:
		return f.publish(c)
	case cluster.Withdraw:
		if err := f.at(c.Service.Name, c.Service.ModRevision); err != nil {
			return err
		}
		delete(f.services, c.Service.Name)
		f.draft.Service(c.Service.Name, nil)
		if c.Service.Launched() {
			f.ops.Scaled = maps.Clone(f.ops.Scaled)
			if f.ops.Scaled == nil {
				f.ops.Scaled = map[string]cluster.Scaled{}
			}
			f.ops.Scaled[c.Service.Name] = cluster.Scaled{Withdrawn: true}
		}
	case cluster.SetAdmin:
		f.draft.Admin(c.Service, c.ID, c.Admin)
	case cluster.SetNodeAdmin:
		f.draft.NodeAdmin(c.Node, c.Admin)
	case cluster.SetConfig:
		config := c.Config
		if last := f.draft.Snapshot(f.revision).Config; c.KeepPause && config != nil {
			kept := *config
			kept.Paused = last != nil && last.Paused
			config = &kept
		}
		f.draft.Config(config)
	case cluster.SetDown:
		if c.Down != nil && f.alive[c.Node] {
			return fmt.Errorf("node %s: %w", c.Node, cluster.ErrAlive)
		}
		f.draft.Down(c.Node, c.Down)
	case cluster.ForgetNode:
		if f.alive[c.Node] && !c.Alive {
			return fmt.Errorf("node %s: %w", c.Node, cluster.ErrAlive)
		}
		if _, launching := f.ops.Launchers[c.Node]; launching && !c.Alive {
			return fmt.Errorf("node %s: %w", c.Node, cluster.ErrLaunching)
		}
		f.forget(c.Node)
	case cluster.SetPaused:
		config := cluster.Config{}
		if last := f.draft.Snapshot(f.revision).Config; last != nil {
			config = *last
		}
		config.Paused = c.Paused
		f.draft.Config(&config)
	case cluster.AcceptHeld:
		if f.held != nil && c.Revision >= f.held.Revision {
			f.held = nil
			f.draft.Held(nil)
		}
	default:
		return fmt.Errorf("commit %T: unknown", change)
	}
	return nil
}

func (f *Fake) forget(node string) {
	for _, in := range f.draft.Snapshot(f.revision).Services.All() {
		for _, i := range in.Registered {
			if i.Node == node {
				f.draft.Instance(node, in.Service.Name, i.ID, nil)
			}
		}
	}
	f.draft.Node(node, nil)
	f.draft.Health(node, nil)
	f.draft.Down(node, nil)
	f.draft.NodeAdmin(node, nil)
	delete(f.applied, node)
	if _, launching := f.ops.Launchers[node]; !launching {
		f.ops.Launched = maps.Clone(f.ops.Launched)
		delete(f.ops.Launched, node)
	}
}

func (f *Fake) publish(c cluster.Publish) error {
	if err := f.at(c.Service.Name, c.Service.ModRevision); err != nil {
		return err
	}
	if problems := c.Service.Validate(nil); len(problems) > 0 {
		return fmt.Errorf("publish %q: %w", c.Service.Name, problems[0])
	}
	for _, front := range c.Service.Frontends() {
		for _, other := range f.services {
			if other.Name != c.Service.Name && slices.Contains(other.Frontends(), front) {
				return fmt.Errorf("publish %s: %w", c.Service.Name, &cluster.TakenError{Frontend: front, Owner: other.Name})
			}
		}
	}
	s := *c.Service
	s.ModRevision = f.revision + 1
	if s.CreateRevision == 0 {
		s.CreateRevision = s.ModRevision
	}
	f.services[s.Name] = &s
	f.draft.Service(s.Name, &s)
	f.draft.Ready(true)
	return nil
}

func (f *Fake) at(name string, planned int64) error {
	have := int64(0)
	if s := f.services[name]; s != nil {
		have = s.ModRevision
	}
	if have != planned {
		return fmt.Errorf("service %s is at revision %d, planned was %d: %w", name, have, planned, cluster.ErrConflict)
	}
	return nil
}

// move ends a write: the nodes that follow have it at once.
func (f *Fake) move() {
	f.revision++
	for i, n := range f.follow {
		f.applied[n] = cluster.Applied{Revision: f.revision, TookMS: float64(i + 1), Problems: f.applied[n].Problems, Flows: f.applied[n].Flows, FlowsRevision: f.revision}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// WatchApplied implements controlcenter.Store.
func (f *Fake) WatchApplied(ctx context.Context, fn func(map[string]bool, map[string]cluster.Applied) bool) error {
	for {
		f.mu.Lock()
		alive, applied, changed, down := maps.Clone(f.alive), maps.Clone(f.applied), f.changed, f.down
		for node, a := range applied {
			a.Held = f.held
			applied[node] = a
		}
		f.mu.Unlock()
		if down != nil {
			return down
		}
		if fn(alive, applied) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Edit changes what other parts of Weir write.
func (f *Fake) Edit(edit func(*cluster.Draft)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f.draft)
	f.move()
}

// Follow makes nodes live that apply each write at once.
func (f *Fake) Follow(nodes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.follow = nodes
	for _, n := range nodes {
		f.alive[n] = true
		f.applied[n] = cluster.Applied{Revision: f.revision}
	}
	f.move()
}

// Tell is what a node says; alive or not.
func (f *Fake) Tell(node string, alive bool, a cluster.Applied) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive[node], f.applied[node] = alive, a
	f.move()
}

// Hold marks deletions as held back, by this snapshot and by every node.
func (f *Fake) Hold(h cluster.Held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = &h
	f.draft.Held(&h)
	f.move()
}

// Fail makes every call fail; nil ends it.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
	f.move()
}

// Writes is how many commits were accepted.
func (f *Fake) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// ErrUnreachable is what the real store says when etcd is away.
var ErrUnreachable = fmt.Errorf("list net/: %w: %w", cluster.ErrUnreachable, errors.New("connection refused"))

// Service is a sound service with one VIP and instances at the addresses.
func Service(t testing.TB, name, frontend string, instances ...string) *cluster.Service {
	t.Helper()
	f, err := cluster.ParseFrontend(frontend)
	if err != nil {
		t.Fatal(err)
	}
	s := &cluster.Service{Name: name, VIPs: []netip.Addr{f.VIP}, Ports: []cluster.Port{{Port: f.Port, Protocol: f.Proto}}}
	for _, a := range instances {
		i, err := cluster.ParseInstance(a)
		if err != nil {
			t.Fatal(err)
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

// Put publishes services as somebody else would.
func (f *Fake) Put(t testing.TB, services ...*cluster.Service) {
	t.Helper()
	for _, s := range services {
		f.mu.Lock()
		next := *s
		if old := f.services[s.Name]; old != nil {
			next.CreateRevision, next.ModRevision = old.CreateRevision, old.ModRevision
		}
		err := f.apply(cluster.Publish{Service: &next})
		f.move()
		f.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
}
