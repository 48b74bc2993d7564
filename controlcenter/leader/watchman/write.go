package watchman

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// batch is how many decisions go into one transaction: etcd bounds it, and the first one must be small to be quick.
const batch = 30

// write carries out what was decided: first what takes nodes out, then what tells of it.
func (w *Watchman) write(ctx context.Context, o Orders, asOf cluster.AsOf) error {
	var errs []error
	var rest []cluster.Decision
	for _, v := range o.Down {
		more, err := w.declare(ctx, v, asOf)
		rest = append(rest, more...)
		errs = append(errs, err)
	}
	if lost(errors.Join(errs...)) {
		return errors.Join(errs...)
	}
	errs = append(errs, w.record(ctx, o.Gone))
	for _, node := range o.Up {
		w.log.Info("node is back", "node", node)
		rest = append(rest, w.events(node, cluster.EventNodeUp, fmt.Sprintf("node %s is back: its agent has registered", node))...)
	}
	if o.Raised {
		rest = append(rest, w.alarmed(*o.Alarm)...)
	}
	return errors.Join(append(errs, w.all(ctx, rest))...)
}

// declare writes that a node is down, with the events of as many services as fit, and returns the others. What an operator said
// after what it was decided from, a pause above all, keeps it from being written.
func (w *Watchman) declare(ctx context.Context, v Verdict, asOf cluster.AsOf) (more []cluster.Decision, err error) {
	events := w.events(v.Node, cluster.EventNodeDown, fmt.Sprintf("node %s is down: %s", v.Node, v.Down.Reason))
	n := min(len(events), batch)
	revision, err := w.config.Writer.Write(ctx, append([]cluster.Decision{asOf, cluster.SetDown{Node: v.Node, Down: &v.Down}}, events[:n]...)...)
	switch {
	case errors.Is(err, cluster.ErrAlive):
		w.log.Info("node came back before it was declared down", "node", v.Node)
		return nil, nil
	case errors.Is(err, cluster.ErrStale):
		w.state.withdraw(v.Node)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("declare node %s down: %w", v.Node, err)
	}
	w.metrics.declared.Inc()
	w.log.Warn("node is declared down", "node", v.Node, "revision", revision, "services", len(events), "reason", v.Down.Reason)
	return events[n:], nil
}

// record writes what is new about nodes that are gone.
func (w *Watchman) record(ctx context.Context, gone map[string]cluster.Gone) error {
	var changes []cluster.Decision
	for _, node := range slices.Sorted(maps.Keys(gone)) {
		if g := gone[node]; !same(w.recorded[node], g) {
			w.log.Info("node is gone", "node", node, "state", string(g.State), "reason", g.Reason)
			changes = append(changes, cluster.SetGone{Node: node, Gone: &g})
		}
	}
	for _, node := range slices.Sorted(maps.Keys(w.recorded)) {
		if _, still := gone[node]; !still {
			changes = append(changes, cluster.SetGone{Node: node})
		}
	}
	if err := w.all(ctx, changes); err != nil {
		return fmt.Errorf("record which nodes are gone: %w", err)
	}
	w.recorded = gone // all or none: what was written twice is written the same
	return nil
}

func same(a, b cluster.Gone) bool {
	return a.State == b.State && a.Reason == b.Reason && a.Since.Equal(b.Since)
}

// all writes decisions in as many transactions as they need.
func (w *Watchman) all(ctx context.Context, decisions []cluster.Decision) error {
	for part := range parts(decisions) {
		if _, err := w.config.Writer.Write(ctx, part...); err != nil {
			return err
		}
	}
	return nil
}

// parts are of at most batch decisions, and each has at most one event of a service.
func parts(decisions []cluster.Decision) func(func([]cluster.Decision) bool) {
	return func(yield func([]cluster.Decision) bool) {
		var part []cluster.Decision
		services := map[string]bool{}
		for _, d := range decisions {
			e, event := d.(cluster.Event)
			if len(part) == batch || event && services[e.Service] {
				if !yield(part) {
					return
				}
				part = nil
				clear(services)
			}
			if part = append(part, d); event {
				services[e.Service] = true
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// events tell each service with instances on a node.
func (w *Watchman) events(node, what, reason string) []cluster.Decision {
	return w.tellAll(w.hosts.services(node), what, reason)
}

// alarmed tells each service with instances on one of the nodes, once.
func (w *Watchman) alarmed(a Alarm) []cluster.Decision {
	w.log.Error("too many nodes are gone at once", "nodes", a.Nodes, "reason", a.Reason)
	services := map[string]bool{}
	for _, node := range a.Nodes {
		for _, name := range w.hosts.services(node) {
			services[name] = true
		}
	}
	return w.tellAll(slices.Sorted(maps.Keys(services)), cluster.EventNodesGone, a.Reason)
}

func (w *Watchman) tellAll(services []string, what, reason string) []cluster.Decision {
	at := time.Now().UTC().Truncate(time.Millisecond)
	out := make([]cluster.Decision, len(services))
	for i, name := range services {
		out[i] = cluster.Event{At: at, Service: name, What: what, Reason: reason, By: w.config.Name}
	}
	return out
}
