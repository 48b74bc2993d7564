package sample

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
)

const (
	kept   = 15 * time.Second // how long the last good answer counts
	atOnce = 64               // instances are asked at the same time: 200 that all do not answer take four seconds
	steady = time.Minute      // a trouble reads the same at least so long: each new text is a write to etcd
)

// AskerOptions of an Asker.
type AskerOptions struct {
	Node     string        // whose instances are asked
	Interval time.Duration // between two questions to one instance. Default loadmon.Interval

	// Told, if set, is told what agents say beside percentages, each time that they say it; never twice at the same time.
	Told func(ID, Word)
	// Wished, if set, is told the percentages in the same way, as parts of 1.
	Wished func(ID, float64)
}

// Asker asks the instances of one node that have a load: source for their own figures.
type Asker struct {
	o    AskerOptions
	loop *runner.Runner

	telling sync.Mutex // from taking up a word until it is told: the order must not change in between

	mu       sync.Mutex // guards what follows
	seen     *cluster.Snapshot
	services map[string][]ask
	answers  map[ID]answer
	last     map[ID]map[bool]State // what agents said last, by whether it is about health
}

// answer is what one instance said.
type answer struct {
	from ask
	spoken
	utilization *float64
	at          time.Time // of the last good one
	trouble     string    // why there is no newer one, or what is wrong with it
	since       time.Time // of that text
	asked       uint64    // counter
}

// NewAsker returns an asker that does nothing until Run.
func NewAsker(o AskerOptions) *Asker {
	if o.Interval <= 0 {
		o.Interval = loadmon.Interval
	}
	if o.Told == nil {
		o.Told = func(ID, Word) {}
	}
	if o.Wished == nil {
		o.Wished = func(ID, float64) {}
	}
	a := &Asker{o: o, services: map[string][]ask{}, answers: map[ID]answer{}, last: map[ID]map[bool]State{}}
	a.loop = runner.New(a.round, runner.Options{Min: o.Interval, Max: o.Interval})
	return a
}

// Want says whom to ask from now on. What an agent said is taken back when it is not asked any more.
func (a *Asker) Want(s *cluster.Snapshot) {
	a.telling.Lock()
	defer a.telling.Unlock()
	for id, states := range a.want(s) {
		a.takeBack(id, states)
	}
	a.loop.Kick()
}

// want returns what agents said last that are not asked any more.
func (a *Asker) want(s *cluster.Snapshot) map[ID]map[bool]State {
	a.mu.Lock()
	defer a.mu.Unlock()
	var before cluster.Map[string, *cluster.Inputs]
	if a.seen != nil {
		before = a.seen.Services
	}
	a.seen = s
	for name, change := range cluster.Changed(before, s.Services) {
		delete(a.services, name)
		if in := change[1]; in != nil {
			if asks := asksOf(in, a.o.Node); len(asks) > 0 {
				a.services[name] = asks
			}
		}
	}
	wanted := map[ID]ask{}
	for _, asks := range a.services {
		for _, k := range asks {
			wanted[k.ID] = k
		}
	}
	maps.DeleteFunc(a.answers, func(id ID, given answer) bool { return wanted[id] != given.from })
	gone := map[ID]map[bool]State{}
	for id, states := range a.last {
		if k, ok := wanted[id]; !ok || k.path != "" {
			gone[id] = states
			delete(a.last, id)
		}
	}
	return gone
}

func (a *Asker) takeBack(id ID, last map[bool]State) {
	const why = "its agent is not asked any more"
	if s := last[false]; s == Drain || s == Maint {
		a.o.Told(id, Word{Ready, why})
	}
	if s := last[true]; s != "" && s != Up {
		a.o.Told(id, Word{Up, why})
	}
}

// Run asks until the context ends, and returns nil then.
func (a *Asker) Run(ctx context.Context) error {
	a.loop.Kick()
	return a.loop.Run(ctx)
}

// round asks everybody once.
func (a *Asker) round(ctx context.Context) error {
	a.mu.Lock()
	var asks []ask
	for _, name := range slices.Sorted(maps.Keys(a.services)) {
		asks = append(asks, a.services[name]...)
	}
	a.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, k := range asks {
		g.Go(func() error {
			given, err := k.put(ctx)
			if ctx.Err() == nil {
				a.take(k, given, err, time.Now())
			}
			return nil
		})
	}
	return g.Wait()
}

// take keeps an answer, and tells what is in it.
func (a *Asker) take(from ask, given answer, err error, now time.Time) {
	a.telling.Lock()
	defer a.telling.Unlock()
	if !a.keep(from, given, err, now) || err != nil {
		return
	}
	if given.wish != nil {
		a.o.Wished(from.ID, *given.wish)
	}
	for _, w := range given.words() {
		a.o.Told(from.ID, w)
	}
}

// keep says whether the answer is still wanted. Where there is none, or a bad one, the last good one stays.
func (a *Asker) keep(from ask, given answer, err error, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.services[from.Service], from) {
		return false // it was taken away while it was asked
	}
	before := a.answers[from.ID]
	if err != nil {
		before.from, before.asked = from, before.asked+1
		before.complain(before, plain.Line(err.Error(), cluster.MaxOutput), now)
		a.answers[from.ID] = before
		return true
	}
	given.from, given.at, given.asked = from, now, before.asked+1
	given.complain(before, given.unknown, now)
	if given.wish == nil {
		given.wish = before.wish // as long as it says nothing else
	}
	a.answers[from.ID] = given
	for _, w := range given.words() {
		if a.last[from.ID] == nil {
			a.last[from.ID] = map[bool]State{}
		}
		a.last[from.ID][w.State.Health()] = w.State
	}
	return true
}

func (a *answer) complain(before answer, what string, now time.Time) {
	if before.trouble != "" && what != "" && now.Sub(before.since) < steady {
		what, now = before.trouble, before.since
	}
	a.trouble, a.since = what, now
}
