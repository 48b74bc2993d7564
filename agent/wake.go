package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// Knocks tell of connections that the rules hold, since their service sleeps.
type Knocks interface {
	// Listen calls heard with where each went, as often as the kernel tells, until the context ends; then it returns nil. It
	// calls ready when it hears, and lost when it could not follow.
	Listen(ctx context.Context, ready func(), heard func(cluster.Frontend), lost func()) error
}

// rousing is the loop that tells of services that sleep, by its name in logs and metrics.
const rousing = "wake"

// listenAgain is how long after a failure the kernel is asked again to tell of connections.
const listenAgain = 10 * time.Second

// listen hears of connections that are held, from the first service that sleeps on. While it cannot, such services refuse.
func (a *Agent) listen(ctx context.Context) error {
	if a.c.Knocks == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-a.sleeper:
	}
	for {
		err := a.c.Knocks.Listen(ctx, func() { a.listens(nil) }, a.heard, func() { a.c.Metrics.failures.WithLabelValues("listen").Inc() })
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the kernel stopped telling of connections that are held")
		}
		a.c.Metrics.failures.WithLabelValues("listen").Inc()
		a.listens(err)
		if !runner.Sleep(ctx, listenAgain) {
			return nil
		}
	}
}

// listens has the rules follow when it is new that connections are heard of, or are not.
func (a *Agent) listens(err error) {
	if a.waking.listens(err) {
		a.syncer.Kick()
	}
}

// heard is told of one connection. It must not take long: the kernel does not wait.
func (a *Agent) heard(f cluster.Frontend) {
	a.c.Metrics.knocks.Inc()
	want := a.Status().Want
	if want == nil {
		return
	}
	if b, ok := want.Balancers.Get(f); ok && b.Mode == rules.Hold && a.waking.heard(b.Service, f, time.Now()) {
		a.waker.Kick()
	}
}

// wake tells the leader of the services that somebody connects to, and goes on with it until it could.
func (a *Agent) wake(ctx context.Context) error {
	due := a.waking.due()
	if len(due) == 0 {
		return nil
	}
	if err := a.c.Source.Connected(); err != nil {
		return err
	}
	for _, service := range due[:min(len(due), wakesAtOnce)] {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := a.c.Report.Wake(limited, a.c.Node, service)
		cancel()
		if errors.Is(err, cluster.ErrDenied) {
			a.waking.denied(err)
			a.syncer.Kick() // to refuse what is held in vain
			return nil
		}
		if err != nil {
			return fmt.Errorf("wake service %s: %w", service, err)
		}
		a.waking.told(service, time.Now())
		a.c.Metrics.wakes.Inc()
		a.c.Logger.Info("somebody connects to a service that sleeps", "service", service)
	}
	if len(due) > wakesAtOnce {
		a.waker.Kick()
	}
	return nil
}

// rest takes over what the rules now hold.
func (a *Agent) rest() {
	a.waking.settle(a.want)
	if a.waking.holds(a.have) {
		a.syncer.Kick() // to refuse what cannot be held
	}
	if a.want.Asleep() > 0 {
		select {
		case a.sleeper <- struct{}{}:
		default:
		}
	}
	a.c.Metrics.asleep.Set(float64(a.want.Asleep()))
}
