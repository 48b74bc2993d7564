package controlcenter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// ErrTimeout says that the nodes did not apply a revision in time. The change itself stands.
var ErrTimeout = errors.New("timed out")

// Awaited is what Wait waits for.
type Awaited struct {
	Revision int64
	Services []string // a node that cannot serve one of these is a failure
}

// Progress is how far the nodes have come.
type Progress struct {
	Applied  int             `json:"applied"`
	Live     int             `json:"live"`
	Took     time.Duration   `json:"took"`
	Slowest  string          `json:"slowest,omitempty"`  // the last node that applied it
	Missing  []string        `json:"missing,omitempty"`  // live nodes that have not, with what they have
	Problems []ProblemOfNode `json:"problems,omitempty"` // of the services that are waited for
	Refused  []string        `json:"refused,omitempty"`  // nodes whose kernel refused one of them
}

// ProblemOfNode is a problem that one node reports.
type ProblemOfNode struct {
	Node string `json:"node"`
	cluster.Problem
}

// String is the line that an operator reads.
func (p Progress) String() string {
	s := fmt.Sprintf("applied on %d/%d nodes in %s", p.Applied, p.Live, round(p.Took))
	if p.Slowest != "" && p.Live > 1 && p.Applied == p.Live {
		s += ", slowest " + p.Slowest
	}
	if len(p.Missing) > 0 {
		s += "; waiting for " + plain.Few(p.Missing)
	}
	return s
}

func round(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Wait returns when every live node has applied the revision. It is an error when no node is alive, when a node reports
// a problem with one of the services, and, as ErrTimeout, when the context's deadline comes first. A node that dies
// while it is waited for is no longer waited for. Progress may be nil.
func Wait(ctx context.Context, store Store, want Awaited, progress func(Progress)) (Progress, error) {
	w := waiter{want: want, start: time.Now(), have: map[string]bool{}}
	seen := false
	err := store.WatchApplied(ctx, func(alive map[string]bool, applied map[string]cluster.Applied) bool {
		seen = true
		changed := w.update(alive, applied)
		if changed && progress != nil {
			progress(w.Progress)
		}
		return w.Applied == w.Live
	})
	w.Took = time.Since(w.start)
	switch {
	case seen && w.Live == 0:
		return w.Progress, fmt.Errorf("revision %d is written, but no node is alive to apply it: start weir agent on the nodes", want.Revision)
	case seen && w.Applied == w.Live:
		return w.Progress, w.trouble()
	case errors.Is(err, context.DeadlineExceeded) || err == nil || errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("%w: revision %d is written, and %s%s", ErrTimeout, want.Revision, w.Progress, why(err))
		return w.Progress, errors.Join(err, w.trouble())
	}
	return w.Progress, fmt.Errorf("revision %d is written, but waiting for the nodes was cut short: %w", want.Revision, err)
}

// why adds what kept the store from answering, when that is the reason for the delay.
func why(err error) string {
	if errors.Is(err, cluster.ErrUnreachable) {
		return ": " + err.Error()
	}
	return ""
}

type waiter struct {
	Progress
	want  Awaited
	start time.Time
	have  map[string]bool // nodes that have applied it
}

// update takes in what the nodes say now, and tells whether there is something to report.
func (w *waiter) update(alive map[string]bool, applied map[string]cluster.Applied) bool {
	last := w.Progress
	w.Applied, w.Live, w.Missing, w.Problems, w.Refused, w.Took = 0, 0, nil, nil, nil, time.Since(w.start)
	slowest := -1.0
	for _, node := range slices.Sorted(maps.Keys(alive)) {
		if !alive[node] {
			continue
		}
		w.Live++
		w.note(node, applied[node])
		switch a, told := applied[node]; {
		case told && a.Revision >= w.want.Revision:
			w.Applied++
			if !w.have[node] && a.TookMS > slowest { // of those that came in together, the one that took longest
				w.Slowest, slowest = node, a.TookMS
			}
			w.have[node] = true
		case told && a.Held != nil:
			w.Missing = append(w.Missing, node+" (holds deletions back: see weir guard)")
		case told:
			w.Missing = append(w.Missing, fmt.Sprintf("%s (at revision %d)", node, a.Revision))
		default:
			w.Missing = append(w.Missing, node+" (has told nothing yet)")
		}
	}
	return last.Live == 0 || last.Applied != w.Applied || last.Live != w.Live
}

func (w *waiter) note(node string, a cluster.Applied) {
	for _, p := range a.Problems {
		if slices.ContainsFunc(w.want.Services, func(s string) bool { return p.Object == "service "+s }) {
			w.Problems = append(w.Problems, ProblemOfNode{node, p})
		}
	}
	if slices.ContainsFunc(w.want.Services, func(s string) bool { return slices.Contains(a.Refused, s) }) {
		w.Refused = append(w.Refused, node)
	}
}

// trouble is an error when a node could not do what was asked. Problems that come of the service itself, as of instances
// that fail their checks, are no error: the nodes did all that can be done.
func (w *waiter) trouble() error {
	if len(w.Refused) == 0 {
		return nil
	}
	var lines []string
	for _, p := range w.Problems {
		if slices.Contains(w.Refused, p.Node) {
			lines = append(lines, fmt.Sprintf("node %s: %s", p.Node, p.Error()))
		}
	}
	return fmt.Errorf("revision %d is written, but the kernels of %d nodes refuse it, so they keep what they had:\n%s", w.want.Revision, len(w.Refused), strings.Join(lines, "\n"))
}

// Warnings are the problems of all nodes, each once.
func (p Progress) Warnings() (out []string) {
	for _, problem := range p.Problems {
		if text := problem.Error(); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}
