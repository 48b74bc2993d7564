package keep

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher"
)

// ward is one instance that is looked after. Its goroutine alone starts and stops it; what it learns from others lies in the
// mailbox.
type ward struct {
	keeper *Keeper
	id     string

	mu      sync.Mutex
	mailbox mailbox
	wake    chan struct{} // of size one: something new lies there

	// Owned by the ward's goroutine.
	launched cluster.Launched // as it was last told
	service  string
	ready    bool      // its check has passed since it was started
	mine     bool      // this Keeper started what runs
	asked    time.Time // when it was last to be started
	ended    time.Time // when it last ended, as far as that was counted
	retry    time.Time // not to be started before
	crashes  crashes
	stuck    *cluster.Launched // why it gets on no further in its phase, as it is told as long as that lasts
	failing  bool              // it says so, and is being ended
	own      cluster.Launched  // what is told of it since it last failed by its own word
	ran      time.Time         // when what was last seen running was started; zero: its end is known
	crash    *cluster.Crash    // how it last ended by itself
}

// mailbox is what the store and the drivers said last.
type mailbox struct {
	assignment *cluster.Assignment // nil: it is not assigned
	statuses   map[string]*launcher.Status
	looked     map[string]bool // drivers that were asked since it is looked after
	gone       time.Time       // when it was last ended from here
	ask        *cluster.Ask    // what it last asked for itself
	failed     *string         // it says that it fails, and why
}

func newWard(k *Keeper, id string) *ward {
	return &ward{keeper: k, id: id, wake: make(chan struct{}, 1), mailbox: mailbox{statuses: map[string]*launcher.Status{}, looked: map[string]bool{}}}
}

// assign says what is wanted; nil: nothing is assigned any more.
func (w *ward) assign(a *cluster.Assignment) {
	w.mu.Lock()
	w.mailbox.assignment = a
	w.mu.Unlock()
	w.nudge()
}

// see says what a driver knows of it, by a look that began then; nil: nothing.
func (w *ward) see(driver string, st *launcher.Status, began time.Time) {
	w.mu.Lock()
	if !began.After(w.mailbox.gone) { // it was ended while the driver looked: the next look tells
		w.mu.Unlock()
		return
	}
	same := w.mailbox.looked[driver] && reflect.DeepEqual(w.mailbox.statuses[driver], st)
	w.mailbox.looked[driver] = true
	if st == nil {
		delete(w.mailbox.statuses, driver)
	} else {
		w.mailbox.statuses[driver] = st
	}
	w.mu.Unlock()
	if !same {
		w.nudge()
	}
}

// empty says whether there is nothing to look after.
func (w *ward) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mailbox.assignment == nil && len(w.mailbox.statuses) == 0
}

func (w *ward) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// news is what lies in the mailbox, for one step.
type news struct {
	now        time.Time
	assignment *cluster.Assignment
	status     *launcher.Status // of the driver that has it; nil: none has
	looked     map[string]bool
	failed     *string
}

func (w *ward) take() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := news{now: time.Now(), assignment: w.mailbox.assignment, looked: maps.Clone(w.mailbox.looked), failed: w.mailbox.failed}
	for _, st := range w.mailbox.statuses {
		n.status = st
	}
	return n
}

// run looks after the instance until it is neither assigned nor there, or the context ends.
func (w *ward) run(ctx context.Context) {
	for {
		again, done := w.step(ctx, w.take())
		if done {
			return
		}
		at, stop := runner.After(again)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-w.wake:
			stop()
		case <-at:
		}
	}
}

const (
	// probing is how often an instance that starts is asked whether it is ready.
	probing = 250 * time.Millisecond
	// idle is how often nothing is done.
	idle = time.Minute
)

// step does what is to be done now, and says when to look again at the latest. Done means that there is nothing to look
// after any more.
func (w *ward) step(ctx context.Context, n news) (again time.Duration, done bool) {
	a := n.assignment
	switch {
	case a == nil && !w.keeper.told():
		return idle, false // what is to become of it will be known in a moment
	case a == nil && n.status == nil:
		w.forget()
		return 0, true
	case a == nil:
		return w.orphan(n), false
	}
	w.service = a.About()
	if a.Wanted == cluster.WantStopped && (w.launched.Phase != cluster.PhaseRefused || n.status != nil) {
		return w.stop(ctx, n), false
	}
	driver := orProcess(a.Run.Driver)
	if w.keeper.c.Drivers[driver] == nil {
		w.refuse(a, cluster.Problem{Object: "instance " + w.id, Field: "run.driver", What: "this node has no driver " + driver, Fix: "see the launcher's configuration"}, 0)
		return idle, false
	}
	switch {
	case w.launched.Phase == cluster.PhaseRefused:
		return idle, false // the leader places it elsewhere, so it must not begin to run here after all
	case !n.looked[driver]:
		return w.blind(ctx, n, driver), false
	case n.runs() && n.failed != nil:
		return w.fail(ctx, n), false
	case n.runs():
		return w.tend(ctx, n), false
	case a.Wanted == cluster.WantDrained:
		w.ready = false
		w.told(a, n, cluster.PhaseCrashed, nil) // the connections that it was kept for have ended with it
		return idle, false
	}
	return w.start(ctx, n), false
}

// runs says whether a driver has it running.
func (n news) runs() bool {
	return n.status != nil && n.status.State != launcher.Exited && n.status.State != launcher.Absent
}

func orProcess(driver string) string { return cmp.Or(driver, cluster.DriverProcess) }

// forget takes back what was said of an instance that is gone.
func (w *ward) forget() {
	if w.service != "" {
		w.keeper.herald.tell(w.id, w.service, nil, nil)
	}
}

// orphan is an instance that runs and that nobody assigned: the store lost it, or the node was forgotten. It runs on, and is
// told of, so that the leader can say what becomes of it.
func (w *ward) orphan(n news) time.Duration {
	w.service = n.status.Service
	l := w.launched
	if l.Kind, l.Service = n.status.Kind, n.status.Service; l.Kind == cluster.KindNode {
		l.Service, l.For = "", n.status.Service
	}
	l.PID, l.Starts = n.status.PID, n.status.Starts
	if l.Phase == "" {
		l.Phase, l.Since = cluster.PhaseStarting, n.now.UTC()
	}
	l.Problem = &cluster.Problem{Object: "instance " + w.id, What: "it runs here and is assigned to nobody", Fix: "the leader takes it back or stops it; without one it runs on"}
	w.launched = l
	w.keeper.herald.again(w.id, l)
	return idle
}
