package leader

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/loadmon"
)

// balance moves the weights of services, round by round. One goroutine owns it; it lives as long as its leadership, so
// that what it remembers is never older than what another leader wrote.
type balance struct {
	*term
	remembered map[string]*memory // by service
	failures   map[string]int     // by node: rounds in a row without an answer
	asOf       cluster.AsOf       // what the present round decides from
	pausing    bool
	told       map[string]bool // problems of the round before, and whether the log knows of them
}

func newBalance(t *term) *balance {
	return &balance{term: t, remembered: map[string]*memory{}}
}

// run goes round by round until the context ends, and returns nil then.
func (b *balance) run(ctx context.Context) error {
	r := runner.New(b.once, runner.Options{
		Max: b.config.Interval, RetryMin: b.config.Interval / 5, RetryMax: b.config.Interval,
		Failed: func(err error, retry time.Duration) {
			b.log.Warn("a round of the leader failed", "err", err, "retry", retry.Round(time.Millisecond))
		},
	})
	r.Kick()
	return r.Run(ctx)
}

// once fetches, decides and writes.
func (b *balance) once(ctx context.Context) error {
	defer b.busy()()
	s := b.Snapshot()
	r := &roundReport{began: time.Now(), snapshot: s, paused: paused(s)}
	errs := []error{b.secret(ctx)}
	led := ledServices(s)
	r.answers = b.fetch(ctx, s, hosting(led, s, b.launching(s)))
	if ctx.Err() != nil {
		return nil
	}
	for _, a := range r.answers {
		r.problems = append(r.problems, a.problems...)
	}
	b.hear(r.answers)
	if b.pause(r.paused); !r.paused {
		problems, err := b.decideAll(ctx, s, led, r.answers)
		r.problems, errs = append(r.problems, problems...), append(errs, err)
	}
	r.services, r.took, r.err = b.services(led), time.Since(r.began), errors.Join(errs...)
	b.tell(r)
	return r.err
}

// hear lets others know what was measured.
func (b *balance) hear(answers []answer) {
	measured, hosts := merged(answers), hostsOf(answers)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard, b.hosts = measured, hosts
	if b.foreman != nil {
		b.foreman.Heard()
	}
}

// busy marks the time in which a round is under way.
func (l *Leader) busy() (done func()) {
	l.progress(time.Now())
	return func() { l.progress(time.Time{}) }
}

// progress notes that a round has begun or come further: one with many writes may take its time.
func (l *Leader) progress(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rounding = at
}

// pause notes whether decisions are stopped; the log is told when that changes.
func (b *balance) pause(now bool) {
	if now && !b.pausing {
		b.log.Warn("paused: nothing is decided until \"weir resume\"")
	}
	if !now && b.pausing {
		b.log.Info("resumed")
	}
	b.pausing = now
}

// decideAll decides about one service after the other. That one cannot be written does not stop the others, unless
// somebody else leads, etcd is away or the configuration was written meanwhile.
func (b *balance) decideAll(ctx context.Context, s *cluster.Snapshot, led []ledService, answers []answer) (problems []cluster.Problem, err error) {
	measured := merged(answers)
	b.asOf = cluster.AsOf{Config: s.Configured}
	var errs []error
	seen := map[string]bool{}
	for _, l := range led {
		seen[l.name()] = true
		m := b.recall(l, s.Revision)
		last := m.last
		more, err := b.decide(ctx, l, m, measured[l.name()])
		problems = append(problems, more...)
		if errors.Is(err, cluster.ErrStale) {
			m.last = last
			return problems, nil // a pause, it may be: the next round knows, and decides the same again if it is none
		}
		if errors.Is(err, cluster.ErrNotLeading) || errors.Is(err, cluster.ErrUnreachable) || ctx.Err() != nil {
			return problems, err // the others could not be written either; the next round decides
		}
		errs = append(errs, err)
	}
	for name := range b.remembered {
		if !seen[name] {
			delete(b.remembered, name)
		}
	}
	return problems, errors.Join(errs...)
}

// hostsOf are the nodes' own figures, those that are believed and not old.
func hostsOf(answers []answer) map[string]foreman.Host {
	out := map[string]foreman.Host{}
	for _, a := range answers {
		if a.measured != nil && a.report.Host.Processors > 0 && a.at.Sub(a.report.At) <= stale {
			out[a.node] = foreman.Host{HostLoad: a.report.Host, Sample: a.report.At, Heard: a.at}
		}
	}
	return out
}

// launching are the nodes with a launcher that tell of a load monitor.
func (b *balance) launching(s *cluster.Snapshot) []string {
	b.mu.Lock()
	hands := b.foreman
	b.mu.Unlock()
	if hands == nil {
		return nil
	}
	return slices.DeleteFunc(hands.Launching(), func(name string) bool {
		n, joined := s.Nodes.Get(name)
		return !joined || n.Monitor == ""
	})
}

// merged is what is believed of each instance, by service. Each instance has one node, and only that one was believed.
func merged(answers []answer) map[string]map[string]loadmon.Measured {
	out := map[string]map[string]loadmon.Measured{}
	for _, a := range answers {
		for service, instances := range a.measured {
			if out[service] == nil {
				out[service] = map[string]loadmon.Measured{}
			}
			for id, m := range instances {
				out[service][id] = m
			}
		}
	}
	return out
}
