package check

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// Options say where a Checker runs and what it may do.
type Options struct {
	Node      string
	AllowExec bool // run exec checks, as the user of this process; off: they are a Problem
	Logger    *slog.Logger

	// Listening are the TCP sockets of this network namespace that listen. It is called every LookInterval. Without it, or
	// where it fails, a process that ends is noticed by checks alone.
	Listening func() ([]netip.AddrPort, error)
}

// Checker knows how the instances are that its node looks after: its own, and those on hosts without an agent that chose
// it among their three observers. Its methods may be called from several goroutines.
type Checker struct {
	o       Options
	start   time.Time     // with a monotonic reading: nothing follows jumps of the clock
	every   time.Duration // between two looks at the sockets
	changed chan struct{} // of size one
	kicked  chan struct{} // of size one

	mu       sync.Mutex
	wanted   *cluster.Snapshot
	services map[string]assigned
	subjects map[ID]*subject
	due      queue
	wake     time.Duration // when Run looks at the queue next
	running  int
	programs int // that run, of these

	blind     atomic.Bool             // the sockets cannot be listed, and that was said
	listening map[netip.AddrPort]bool // of the goroutine that looks at the sockets
}

// assigned is what this node looks after of one service.
type assigned struct {
	ids      []ID
	problems []cluster.Problem
}

// maxProbes bounds how many checks run at a time. Each ends by its timeout, so that others wait for no longer than that.
const maxProbes = 512

// New returns a checker that does nothing until Run, and knows nothing until Want.
func New(o Options) *Checker {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Checker{
		o: o, start: time.Now(), every: LookInterval, changed: make(chan struct{}, 1), kicked: make(chan struct{}, 1),
		services: map[string]assigned{}, subjects: map[ID]*subject{}, listening: map[netip.AddrPort]bool{},
	}
}

func (c *Checker) now() time.Duration { return time.Since(c.start) }

// Want says what to check from now on. What this node said before is restored for instances of which nothing was seen yet, so
// that verdicts outlive a restart of the monitor.
func (c *Checker) Want(s *cluster.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.wanted
	if before == nil {
		before = &cluster.Snapshot{}
	}
	first := c.wanted == nil
	c.wanted = s
	if !first && before.Observers != s.Observers {
		for _, in := range s.Services.All() {
			if homeless(in) {
				c.assign(in, false)
			}
		}
	}
	for name, pair := range cluster.Changed(before.Services, s.Services) {
		if in := pair[1]; in != nil {
			c.assign(in, first)
		} else {
			c.replace(name, assigned{})
		}
	}
	c.hurry()
}

// hurry wakes Run where a check is due before it would look.
func (c *Checker) hurry() {
	if s, at := c.due.first(); s != nil && at < c.wake {
		signal(c.kicked)
	}
}

// assign takes up one service as it is now.
func (c *Checker) assign(in *cluster.Inputs, first bool) {
	name := in.Service.Name
	if !homeless(in) && !hosts(in, c.o.Node) { // most are, in a large cluster
		c.replace(name, assigned{})
		return
	}
	observes := func(instance string) bool {
		return slices.Contains(c.wanted.Observers.Of(name, instance), c.o.Node)
	}
	tasks, problems := assign(in, c.o.Node, observes, c.o.AllowExec)
	next := assigned{problems: problems}
	for _, t := range tasks {
		next.ids = append(next.ids, t.id)
		s := c.subjects[t.id]
		if s == nil {
			s = newSubject(t, c.now())
			if !first {
				s.rung.grace = c.now() + grace(t)
			}
			c.subjects[t.id] = s
		} else {
			s.retask(t)
			c.tell(s)
		}
		h, told := in.Health[t.id.Instance]
		s.restore(h, told)
		c.due.put(s, c.o.Node, c.now())
	}
	c.replace(name, next)
}

// replace forgets the instances of a service that are not this node's any more.
func (c *Checker) replace(name string, next assigned) {
	kept := map[ID]bool{}
	for _, id := range next.ids {
		kept[id] = true
	}
	for _, id := range c.services[name].ids {
		if s := c.subjects[id]; s != nil && !kept[id] {
			c.due.remove(s)
			delete(c.subjects, id)
			if s.health.Verdict != "" {
				signal(c.changed)
			}
		}
	}
	if c.services[name] = next; len(next.ids) == 0 && len(next.problems) == 0 {
		delete(c.services, name)
	}
}

// Run checks until the context ends, and then returns nil. No check outlives it.
func (c *Checker) Run(ctx context.Context) error {
	var probes sync.WaitGroup
	defer probes.Wait()
	var watching sync.WaitGroup
	defer watching.Wait() // before the probes, which it starts
	watching.Go(func() { c.watch(ctx, &probes) })
	for ctx.Err() == nil {
		c.round(ctx, &probes)
		at, stop := runner.After(c.sleep())
		select {
		case <-ctx.Done():
		case <-at:
		case <-c.kicked:
		}
		stop()
	}
	return nil
}

// due is a check that is to be made now.
type due struct {
	subject *subject
	task    task // as it was when the check began
}

// round begins the checks that are due. Those that need not wait are over when it returns: a goroutine for each would cost more
// than such a check does.
func (c *Checker) round(ctx context.Context, probes *sync.WaitGroup) {
	var questions []due
	for _, d := range c.take() {
		switch {
		case d.task.asks():
			questions = append(questions, d)
		case d.task.own && d.task.check.TCP != nil:
			c.connect(ctx, d, probes)
		default:
			probes.Go(func() { c.ran(d, run(ctx, d.task)) })
		}
	}
	if len(questions) > 0 {
		probes.Go(func() { converse(ctx, questions, c.ran, probes) })
	}
}

// connect makes a TCP check of an instance of this host.
func (c *Checker) connect(ctx context.Context, d due, probes *sync.WaitGroup) {
	began := time.Now()
	o, fd := tryTCP(ctx, d.task)
	if fd < 0 {
		c.ran(d, o)
		return
	}
	probes.Go(func() {
		c.ran(d, timed(ctx, d.task, began, func(ctx context.Context, t task) Outcome { return awaitTCP(ctx, t, fd) }))
	})
}

// take takes the checks that are due out of the queue.
func (c *Checker) take() (out []due) {
	const soon = 50 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	for now := c.now(); c.running < maxProbes; {
		s, at := c.due.first()
		if s == nil || at > now {
			return out
		}
		program := s.check.Exec != nil
		if program && c.programs == maxExec {
			c.due.set(s, now+soon)
			continue
		}
		c.due.remove(s)
		s.busy = true
		c.running++
		if program {
			c.programs++
		}
		out = append(out, due{s, s.task})
	}
	return out
}

// sleep is how long nothing is to be done.
func (c *Checker) sleep() (d time.Duration) {
	// What falls due within together begins together: each sleep costs as much as a check.
	const longest, together = time.Minute, 40 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	d = longest
	if s, at := c.due.first(); s != nil && c.running < maxProbes { // else the end of a check comes sooner
		d = min(longest, max(at-now, together))
	}
	c.wake = now + d
	return d
}

// ran takes up what a check showed, and plans the next.
func (c *Checker) ran(d due, o Outcome) {
	s, t := d.subject, d.task
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.hurry()
	c.running--
	if t.check.Exec != nil {
		c.programs--
	}
	if s.busy = false; c.subjects[t.id] != s {
		return
	}
	if s.task.same(t) {
		s.see(o, c.now())
		c.tell(s)
	}
	c.due.put(s, c.o.Node, c.now())
}

// tell settles what is said of an instance.
func (c *Checker) tell(s *subject) {
	told := s.health
	before, after := s.settle(c.now(), time.Now())
	if before != after {
		c.o.Logger.Info("verdict", "service", s.id.Service, "instance", s.id.Instance, "verdict", word(after), "before", word(before), "reason", s.health.Reason)
	}
	if s.health != told {
		signal(c.changed)
	}
}

// word is a verdict as a log shows it.
func word(v cluster.Verdict) string {
	if v == "" {
		return "well"
	}
	return string(v)
}

// Health is what this node says now: only the instances that are not well.
func (c *Checker) Health() cluster.NodeHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := cluster.NodeHealth{}
	for id, s := range c.subjects {
		if s.health.Verdict == "" {
			continue
		}
		if out[id.Service] == nil {
			out[id.Service] = map[string]cluster.Health{}
		}
		out[id.Service][id.Instance] = s.health
	}
	return out
}

// Changed says, by a channel of size one, that Health has changed since the last word.
func (c *Checker) Changed() <-chan struct{} { return c.changed }

// Results are what the checks of this node measured.
func (c *Checker) Results() map[ID]Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	out := make(map[ID]Result, len(c.subjects))
	for id, s := range c.subjects {
		out[id] = s.result(now)
	}
	return out
}

// maxProblems bounds how many instances are told of one by one.
const maxProblems = 50

// Problems are the checks that this node cannot run, sorted.
func (c *Checker) Problems() (out []cluster.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range maps.Values(c.services) {
		out = append(out, a.problems...)
	}
	for _, id := range slices.SortedFunc(maps.Keys(c.subjects), ID.Compare) {
		if s := c.subjects[id]; s.unknown != "" && len(out) < maxProblems {
			out = append(out, cluster.Problem{
				Object: "service " + id.Service, Field: "instance " + id.Instance,
				What: "node " + c.o.Node + " cannot check it, so its last verdict stays: " + s.unknown, Fix: "put that right on the node",
			})
		}
	}
	slices.SortFunc(out, cluster.Problem.Compare)
	return out
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
