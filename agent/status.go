package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
)

// Status is what the agent last did.
type Status struct {
	Snapshot *cluster.Snapshot // the newest that the kernel holds; nil before the first
	Want     *rules.Ruleset
	Plan     *rules.Plan // the last one that was not empty
	Problems []cluster.Problem
	Refused  []string      // services of which the kernel refused a frontend
	Stale    bool          // the snapshot came from the file
	Took     time.Duration // from the snapshot's arrival to the verified rules
	At       time.Time
	Failure  error // of the last pass, nil when it went well
}

func (s Status) barrier() int64 {
	if s.Snapshot == nil {
		return 0
	}
	return s.Snapshot.Barrier
}

func (s Status) held() *cluster.Held {
	if s.Snapshot == nil {
		return nil
	}
	return s.Snapshot.Held
}

// applied is the status as others see it.
func (s Status) applied() cluster.Applied {
	out := cluster.Applied{Held: s.held(), TookMS: float64(s.Took.Microseconds()) / 1000, Problems: s.Problems, Refused: s.Refused, Stale: s.Stale, At: s.At}
	if s.Snapshot != nil {
		out.Revision = s.Snapshot.Revision
	}
	if len(out.Problems) > maxProblems {
		out.Problems, out.ProblemCount = out.Problems[:maxProblems], len(out.Problems)
	}
	return out
}

// Status tells what the agent last did.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// hung is how long a pass may take before the agent counts as hanging. The largest load that we design for takes some
// seconds, and a call that is past its deadline makes the node unready long before.
const hung = 25 * time.Second

// Live is nil unless the agent hangs: then only a restart helps.
func (a *Agent) Live() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.passing.IsZero() {
		return nil
	}
	if took := time.Since(a.passing); took > hung {
		return fmt.Errorf("writing rules has been under way for %s", took.Round(time.Second))
	}
	return nil
}

// busy marks the time in which rules are read and written.
func (a *Agent) busy() (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passing = time.Now()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.passing = time.Time{}
	}
}

// Ready is nil when the kernel holds the newest snapshot that is known and the store answers.
func (a *Agent) Ready() error {
	if err := a.kernel.overdue(); err != nil {
		return err
	}
	s := a.Status()
	switch {
	case s.Failure != nil:
		return fmt.Errorf("rules could not be written: %w", s.Failure)
	case s.Snapshot == nil:
		return errors.Join(errors.New("no snapshot has been applied yet"), a.c.Source.Connected())
	case s.Stale:
		return errors.Join(fmt.Errorf("working from the snapshot file, revision %d", s.Snapshot.Revision), a.c.Source.Connected())
	}
	if err := a.c.Source.Connected(); err != nil {
		return fmt.Errorf("the last rules are kept: %w", err)
	}
	return nil
}

// WriteSnapshot writes the applied snapshot as JSON.
func (a *Agent) WriteSnapshot(w io.Writer) error {
	s := a.Status().Snapshot
	if s == nil {
		return errors.New("no snapshot has been applied yet")
	}
	return new(cluster.Archiver).Write(w, s)
}

// WritePlan writes the last plan that changed something.
func (a *Agent) WritePlan(w io.Writer) error {
	s := a.Status()
	if s.Plan == nil {
		return errors.New("nothing has been changed yet")
	}
	_, err := fmt.Fprintf(w, "revision %d, %d writes\n%s", s.Plan.Revision, s.Plan.Writes(), s.Plan)
	return err
}

// WriteProblems writes every problem, also those that a report leaves out.
func (a *Agent) WriteProblems(w io.Writer) error {
	for _, p := range a.Status().Problems {
		if _, err := fmt.Fprintln(w, p.Error()); err != nil {
			return err
		}
	}
	return nil
}

// tell reports the status. Without etcd there is nobody to tell.
func (a *Agent) tell(ctx context.Context) error {
	s := a.Status()
	if s.Snapshot == nil && len(s.Problems) == 0 || a.c.Source.Connected() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	told, counted := s.applied(), a.flows.counted()
	told.Flows, told.FlowsRevision = counted.flows, counted.revision
	return a.c.Report.Applied(ctx, a.c.Node, told)
}

// tellRegularly kicks the report with jitter, so that a thousand nodes do not write at once.
func (a *Agent) tellRegularly(ctx context.Context) error {
	for runner.Sleep(ctx, time.Duration(float64(a.c.ReportEvery)*(0.8+0.4*rand.Float64()))) {
		a.teller.Kick()
		a.herald.Kick() // it has something to say only where it could not before
	}
	return nil
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// WriteRules writes what the kernel should hold.
func (a *Agent) WriteRules(w io.Writer) error {
	s := a.Status()
	if s.Want == nil {
		return errors.New("no snapshot has been applied yet")
	}
	_, err := io.WriteString(w, s.Want.String())
	return err
}
