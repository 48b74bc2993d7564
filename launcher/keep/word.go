package keep

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/words"
)

var _ words.Hearer = (*Keeper)(nil)

// Ask takes up how many instances of its service an instance asks for, and tells the leader. The last word counts. Where their
// number is fixed nobody would hear it, and it is better known at once.
func (k *Keeper) Ask(id string, a cluster.Ask) error {
	w, err := k.speaker(id)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.mailbox.assignment; at != nil && at.Fixed {
		return fmt.Errorf("%w, and nothing would follow: give service %s, in its file, scale: {min, max} in place of replicas", words.ErrFixed, at.Service)
	}
	if before := w.mailbox.ask; before != nil && a.At.Sub(before.At) < time.Second {
		return words.ErrSoon
	}
	w.mailbox.ask = &a
	w.nudge()
	return nil
}

// Fail takes up that an instance cannot go on: it takes no connections from now on, is ended, and started anew as after a
// crash.
func (k *Keeper) Fail(id, reason string) error {
	w, err := k.speaker(id)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mailbox.failed = &reason
	w.nudge()
	return nil
}

// speaker is an instance that is to run here, and does.
func (k *Keeper) speaker(id string) (*ward, error) {
	k.mu.Lock()
	w := k.wards[id]
	k.mu.Unlock()
	if w == nil {
		return nil, words.ErrUnknown
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.mailbox.assignment
	if a == nil || !a.Wanted.Kept() {
		return nil, fmt.Errorf("%w, or it is on its way out", words.ErrUnknown)
	}
	return w, nil
}

// asks is what the instance asks for, as long as that counts.
func (w *ward) asks(now time.Time) *cluster.Ask {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.mailbox.ask; a != nil && now.Sub(a.At) < time.Duration(a.For) {
		return a
	}
	return nil
}

// fail ends an instance that says that it fails, after it was taken from the nodes. What it said and wrote is told until it is
// ready again.
func (w *ward) fail(ctx context.Context, n news) time.Duration {
	a := n.assignment
	if !w.failing {
		w.blame(n, *n.failed)
	}
	n.status = nil
	w.told(a, n, cluster.PhaseCrashed, func(l *cluster.Launched) {
		if w.retry.After(n.now) {
			l.NextTry = w.retry.UTC()
		}
	})
	if err := w.end(ctx, a); err != nil {
		w.keeper.c.Logger.Error("end an instance that fails", "instance", w.id, "err", err)
		return time.Second // and once more
	}
	w.begun()
	w.asked = time.Time{}
	return 0
}

// blame takes note of the failure.
func (w *ward) blame(n news, reason string) {
	service, text := n.assignment.Service, "it says that it fails"
	if reason != "" {
		text += ": " + reason
	}
	w.failing, w.ready = true, false
	w.own = cluster.Launched{
		Exit: text, Output: n.status.Output, Starts: w.own.Starts + n.status.Starts,
		Problem: &cluster.Problem{Object: "instance " + w.id, What: text, Fix: "see weir logs " + service + " --instance " + w.id},
	}
	w.crashes.ended(n.status.Started, n.now)
	w.retry = n.now.Add(w.crashes.pause())
	w.crashed(n.now.UTC(), text, n.status.Output, w.own.Starts)
	w.ran = time.Time{}
	w.keeper.c.Metrics.crashes.Inc()
	w.keeper.c.Logger.Warn("an instance fails by its own word", "service", service, "instance", w.id, "reason", reason, "next", w.crashes.pause().String())
}

// begun says that what runs from now on has not said that it fails.
func (w *ward) begun() {
	w.failing = false
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mailbox.failed = nil
}

// fill completes what is told of an instance by its own last word.
func (w *ward) fill(l *cluster.Launched, st *launcher.Status, now time.Time) {
	l.Ask = w.asks(now)
	if w.crash == nil && st != nil && st.State == launcher.Running {
		w.crash = crashBefore(st)
	}
	l.Crash = w.crash
	l.Starts += w.own.Starts
	if l.Exit == "" {
		l.Exit = w.own.Exit
	}
	if l.Phase == cluster.PhaseReady {
		w.own.Problem, w.own.Output = nil, nil
	}
	if l.Problem != nil {
		return
	}
	l.Problem = w.own.Problem
	if st == nil && l.Phase == cluster.PhaseCrashed {
		l.Output = w.own.Output
	}
}
