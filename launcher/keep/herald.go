package keep

import (
	"cmp"
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// herald writes to the store what is to be known of instances: only what changed, of one instance one after the other, and
// again until it is written. Nobody waits for it.
type herald struct {
	c    Config
	mu   sync.Mutex
	open map[string]*entry // by instance id
	wake chan struct{}
}

// entry is what should be written of one instance, and what was.
type entry struct {
	service    string
	launched   *cluster.Launched
	shown      *cluster.Instance
	wrote      *cluster.Launched
	registered *cluster.Instance
	known      bool // what was written is known; a Keeper before this one may have written as well
	at         time.Time
}

// pace is between two writes about one instance that says nothing new of its phase.
const pace = time.Second

func newHerald(c Config) *herald {
	return &herald{c: c, open: map[string]*entry{}, wake: make(chan struct{}, 1)}
}

// tell hands in what should be known of an instance; nil takes it back.
func (h *herald) tell(id, service string, l *cluster.Launched, shown *cluster.Instance) {
	h.mu.Lock()
	e := h.entry(id)
	e.service, e.launched, e.shown = service, l, shown
	h.mu.Unlock()
	h.nudge()
}

// again tells of an instance that the store may have forgotten.
func (h *herald) again(id string, l cluster.Launched) {
	h.mu.Lock()
	e := h.entry(id)
	if e.launched == nil || !reflect.DeepEqual(*e.launched, l) {
		e.wrote, e.registered = nil, nil // write all of it
	}
	e.service, e.launched = cmp.Or(l.Service, l.For), &l
	h.mu.Unlock()
	h.nudge()
}

// entry is that of an id; h.mu is held.
func (h *herald) entry(id string) *entry {
	e := h.open[id]
	if e == nil {
		e = &entry{}
		h.open[id] = e
	}
	return e
}

func (h *herald) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run writes until the context ends, and returns nil then.
func (h *herald) run(ctx context.Context) error {
	for {
		wait, err := h.write(ctx)
		if err != nil && ctx.Err() == nil {
			h.c.Logger.Debug("tell of instances", "err", err)
			h.c.Metrics.failures.Inc()
			if !runner.Sleep(ctx, time.Second) {
				return nil
			}
			continue
		}
		at, stop := runner.After(wait)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-h.wake:
			stop()
		case <-at:
		}
	}
}

// write writes what is due, and says when the next of it will be.
func (h *herald) write(ctx context.Context) (wait time.Duration, err error) {
	wait = time.Hour
	for _, id := range h.ids() {
		left, failed := h.one(ctx, id)
		if failed != nil {
			err = failed
			if ctx.Err() != nil {
				return 0, err
			}
		}
		wait = min(wait, left)
	}
	return wait, err
}

func (h *herald) ids() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]string, 0, len(h.open))
	for id := range h.open {
		out = append(out, id)
	}
	return out
}

// one writes what changed of one instance: first whether nodes see it, then how it is, so that who reads that it stopped
// knows that nobody is sent there any more.
func (h *herald) one(ctx context.Context, id string) (wait time.Duration, err error) {
	h.mu.Lock()
	e := *h.open[id]
	h.mu.Unlock()
	sameShown := e.known && reflect.DeepEqual(e.shown, e.registered)
	sameTold := e.known && reflect.DeepEqual(e.launched, e.wrote)
	if sameShown && sameTold {
		return time.Hour, nil
	}
	if left := pace - time.Since(e.at); sameShown && left > 0 && e.launched != nil && e.wrote != nil && e.launched.Phase == e.wrote.Phase && (e.launched.Ask == nil || e.launched.Ask == e.wrote.Ask) {
		return left, nil
	}
	if !sameShown {
		if err := h.c.Store.Register(ctx, h.c.Node, e.service, id, e.shown); err != nil {
			return 0, err
		}
	}
	if !sameTold {
		if err := h.c.Store.Launched(ctx, h.c.Node, id, e.launched); err != nil {
			return 0, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.open[id]
	now.wrote, now.registered, now.known, now.at = e.launched, e.shown, true, time.Now()
	if now.launched == nil && now.shown == nil && e.launched == nil {
		delete(h.open, id)
	}
	return time.Hour, nil
}
