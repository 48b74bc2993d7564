package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// watchDrift takes notice whenever somebody else changed our rules. If the watch itself fails, anything may have
// happened meanwhile.
func (a *Agent) watchDrift(ctx context.Context) error {
	for {
		err := a.c.Driver.Watch(ctx, a.foreign)
		if ctx.Err() != nil {
			return nil
		}
		a.c.Metrics.failures.WithLabelValues("watch rules").Inc()
		a.c.Logger.Error("watch rules", "err", err, "retry", time.Second)
		if !runner.Sleep(ctx, time.Second) {
			return nil
		}
		a.foreign(rules.Foreign{What: "the watch was interrupted", Lost: true})
	}
}

func (a *Agent) foreign(f rules.Foreign) {
	a.mu.Lock()
	if len(a.inbox.foreign) == 0 {
		a.inbox.noticed = time.Now()
	}
	if len(a.inbox.foreign) < 100 {
		a.inbox.foreign = append(a.inbox.foreign, f)
	}
	a.mu.Unlock()
	select {
	case a.noticed <- struct{}{}:
	default:
	}
}

// heal kicks a pass for each notice: at once, but in a fight not before its time. It kicks once more when a fight is
// over, so that its Problem goes.
func (a *Agent) heal(ctx context.Context) error {
	for {
		over, stop := runner.Until(a.paceOf((*fight).over))
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-a.noticed:
			stop()
			if !runner.Sleep(ctx, time.Until(a.paceOf((*fight).next))) {
				return nil
			}
		case <-over:
			a.settle()
		}
		a.syncer.Kick()
	}
}

func (a *Agent) paceOf(moment func(*fight) time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return moment(&a.fight)
}

// settle ends a fight in which nothing happened for a while.
func (a *Agent) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.fight.on(time.Now()) {
		a.fight, a.foe = fight{}, ""
	}
}

// suspicion is why the kernel is read again. When something is found wrong it becomes a Repair.
type suspicion struct {
	cause string
	what  []string
	who   []string
	since time.Time                 // of the notice; of the check before, where there was none
	own   map[cluster.Frontend]bool // not to be wondered at: we were writing them
	found *rules.Plan               // what was wrong
}

// suspect gathers what came in; what a failed pass left behind counts on.
func (a *Agent) suspect(in inbox) {
	for _, f := range in.foreign {
		if a.doubt == nil {
			a.doubt = &suspicion{cause: cluster.RepairNotice, since: in.noticed}
		}
		a.doubt.add(f)
	}
	if a.doubt == nil && a.have != nil && time.Since(a.checked) >= a.c.FullCheck {
		a.doubt = &suspicion{cause: cluster.RepairCheck, since: a.checked}
		a.routes.doubt()
	}
}

// suspectWrite is for a write that met something else than remembered. What the write itself left half done is nobody's
// fault, unless the kernel told of somebody.
func (a *Agent) suspectWrite(plan *rules.Plan, began time.Time) {
	a.suspect(a.take())
	if a.doubt != nil {
		return
	}
	a.doubt = &suspicion{cause: cluster.RepairWrite, since: began, own: map[cluster.Frontend]bool{}}
	for _, c := range plan.Changes {
		a.doubt.own[c.Frontend] = true
	}
}

func (s *suspicion) add(f rules.Foreign) {
	if f.Lost {
		s.cause = cluster.RepairLost
	}
	for list, text := range map[*[]string]string{&s.what: f.What, &s.who: f.Who} {
		if text != "" && !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
}

// compare finds what is wrong by what was written last. A frontend that the kernel refused is not where it should be, and
// nobody else's fault.
func (a *Agent) compare(refused map[cluster.Frontend]rules.Quarantine) {
	if a.doubt == nil || a.wrote == nil {
		return
	}
	plan := rules.Diff(a.have, a.wrote)
	plan.Changes = slices.DeleteFunc(plan.Changes, func(c rules.Change) bool {
		_, known := refused[c.Frontend]
		return known || a.doubt.own[c.Frontend]
	})
	if plan.Empty() {
		return
	}
	a.doubt.found = plan
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fight.drift(time.Now())
	if a.fight.on(time.Now()) && a.foe == "" {
		a.foe = strings.Join(append(firstOf(a.doubt.who, 1), a.doubt.text()), ": ")
	}
}

// text is what was done, or else what was found.
func (s *suspicion) text() string {
	what := s.what
	if s.cause != cluster.RepairNotice && s.found != nil {
		what = strings.Split(strings.TrimSpace(s.found.String()), "\n")
	}
	text := strings.Join(firstOf(what, 1), "")
	if more := len(what) - 1; more > 0 {
		text += " and " + itoa(int64(more)) + " more"
	}
	return text
}

func firstOf(list []string, n int) []string { return slices.Clone(list[:min(n, len(list))]) }
