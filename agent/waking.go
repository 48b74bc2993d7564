package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

const (
	// A service that is still asleep is told of again after firstWake, then after twice as long each time up to longestWake,
	// if somebody still connects: what is told stays in the store until the leader has answered it.
	firstWake   = 5 * time.Second
	longestWake = time.Minute
	// wakesAtOnce bounds one run of the waker, which comes every wakeEvery while there are more: a client that tries all
	// addresses costs the store a hundred writes a second.
	wakesAtOnce = 10
	wakeEvery   = 100 * time.Millisecond
)

// waking knows which sleeping services somebody connects to, and what of it was told. It reads no clock.
type waking struct {
	mu     sync.Mutex
	rouses map[string]*rouse // by service, only those that sleep

	deaf   error  // why nothing is heard; nil: the listener works, or has not been needed yet
	unable string // why it is of no use to hold or to tell, until the agent is started anew; "": it is
	remedy string // for that
}

// rouse is what was heard of one service.
type rouse struct {
	frontend cluster.Frontend // one of it
	due      bool             // it is to be told
	quiet    time.Time        // what is heard before says nothing new
	pause    time.Duration    // from what was last told to then
}

func newWaking() *waking { return &waking{rouses: map[string]*rouse{}} }

// heard takes note of a connection, and says whether something is to be told.
func (w *waking) heard(service string, f cluster.Frontend, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rouses[service]
	switch {
	case r == nil:
		w.rouses[service] = &rouse{frontend: f, due: true}
	case r.due || now.Before(r.quiet):
		return false
	default:
		r.due = true
	}
	return true
}

// told takes note that the leader was told.
func (w *waking) told(service string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.rouses[service]; r != nil {
		r.due, r.pause = false, min(max(firstWake, 2*r.pause), longestWake)
		r.quiet = now.Add(r.pause)
	}
}

// settle forgets the services that do not sleep any more.
func (w *waking) settle(want *rules.Ruleset) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for service, r := range w.rouses {
		if b, ok := want.Balancers.Get(r.frontend); !ok || b.Mode != rules.Hold || b.Service != service {
			delete(w.rouses, service)
		}
	}
}

// due are the services that are to be told of, sorted.
func (w *waking) due() (services []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for service, r := range w.rouses {
		if r.due {
			services = append(services, service)
		}
	}
	slices.Sort(services)
	return services
}

// listens takes note that connections are heard of, or why not, and says whether that is new.
func (w *waking) listens(err error) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed = (w.deaf == nil) != (err == nil)
	w.deaf = err
	return changed
}

// holds takes note of what the kernel made of frontends that should be held, and says whether that is new. Once it has
// refused one it is not asked again.
func (w *waking) holds(have *rules.State) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range have.Quarantined() {
		if q.Balancer != nil && q.Balancer.Mode == rules.Hold && w.unable == "" {
			w.unable, changed = q.Reason, true
			w.remedy = "load the kernel modules nfnetlink_log and nft_log (with iptables xt_NFLOG and xt_limit), then restart the agent"
		}
	}
	return changed
}

// denied takes note that this node may not tell the leader.
func (w *waking) denied(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unable, w.remedy = err.Error(), "let the node write ops/wake/ (weir rbac), then restart the agent"
	clear(w.rouses)
}

// able says whether connections can be held: only if somebody hears of them.
func (w *waking) able() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaf == nil && w.unable == ""
}

// problems tell why services that sleep refuse here.
func (w *waking) problems(want *rules.Ruleset) []cluster.Problem {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := cluster.Problem{Object: "node", Field: "wake"}
	switch {
	case want.Asleep() == 0:
		return nil
	case w.unable != "":
		p.What, p.Fix = w.unable, w.remedy
	case w.deaf != nil:
		p.What, p.Fix = w.deaf.Error(), "load the kernel module nfnetlink_log, or end the other program"
	default:
		return nil
	}
	p.What = "connections to services that sleep are refused here, since nobody would hear of them: " + p.What
	return []cluster.Problem{p}
}
