package leader

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/foreman"
	"github.com/weir-lb/weir/controlcenter/leader/watchman"
	"github.com/weir-lb/weir/loadmon"
)

// hung is how long a round may take before the process is taken for stuck.
const hung = time.Minute

// Live says why only a restart would help.
func (l *Leader) Live() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if took := time.Since(l.rounding); !l.rounding.IsZero() && took > hung {
		return fmt.Errorf("a round has come no further for %s", took.Round(time.Second))
	}
	return nil
}

// Ready says why it could not lead at present, or does so badly. One that waits for its turn is ready.
func (l *Leader) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.newest() == nil:
		return fmt.Errorf("nothing was read from etcd yet")
	case l.term != nil && l.round != nil && l.round.err != nil:
		return l.round.err
	}
	return nil
}

// state is the page of the leader as a whole.
type state struct {
	Name     string    `json:"name"`
	Leading  bool      `json:"leading"`
	Since    time.Time `json:"since,omitzero"` // it leads
	Until    time.Time `json:"until,omitzero"` // it led last: it decides nothing since then
	Paused   bool      `json:"paused"`
	Revision int64     `json:"revision"` // of the snapshot that is decided from
	Round    time.Time `json:"round,omitzero"`
	TookMS   float64   `json:"took_ms,omitempty"`
	Error    string    `json:"error,omitempty"`
	Nodes    int       `json:"nodes"` // asked for their loads
	Silent   int       `json:"silent"`
	Services int       `json:"services"`
	Problems int       `json:"problems"`
}

// WriteState writes who leads, and how the last round went.
func (l *Leader) WriteState(w io.Writer) error {
	return writeJSON(w, l.state())
}

func (l *Leader) state() state {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := state{Name: l.config.Name, Leading: l.term != nil}
	if newest := l.newest(); newest != nil {
		s.Revision, s.Paused = newest.Revision, paused(newest)
	}
	if l.term != nil {
		s.Since = l.term.since
	} else {
		s.Until = l.until
	}
	if r := l.round; r != nil {
		s.Round, s.TookMS, s.Nodes, s.Services, s.Problems = r.began, ms(r.took), len(r.answers), len(r.services), len(r.problems)
		for _, a := range r.answers {
			if a.err != nil {
				s.Silent++
			}
		}
		if r.err != nil {
			s.Error = r.err.Error()
		}
	}
	return s
}

// nodeLoads is what one node said in the last round.
type nodeLoads struct {
	Node    string         `json:"node"`
	Asked   time.Time      `json:"asked"`
	TookMS  float64        `json:"took_ms"`
	Error   string         `json:"error,omitempty"`
	At      time.Time      `json:"at,omitzero"` // of its figures, by its own clock
	UptimeS float64        `json:"uptime_s,omitempty"`
	Loads   []loadmon.Load `json:"loads"`
}

// WriteLoads writes what the nodes said in the last round.
func (l *Leader) WriteLoads(w io.Writer) error {
	out := []nodeLoads{}
	for _, a := range l.lastRound().answers {
		n := nodeLoads{Node: a.node, Asked: a.at, TookMS: ms(a.took), At: a.report.At, UptimeS: a.report.UptimeS, Loads: a.report.Loads}
		if a.err != nil {
			n.Error = a.err.Error()
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b nodeLoads) int { return strings.Compare(a.Node, b.Node) })
	return writeJSON(w, out)
}

// WriteDecisions writes what is decided about each service at present, and why.
func (l *Leader) WriteDecisions(w io.Writer) error {
	return writeJSON(w, append([]serviceReport{}, l.lastRound().services...))
}

// WriteNodes writes what it makes of the nodes.
func (l *Leader) WriteNodes(w io.Writer) error { return writeJSON(w, l.nodes()) }

// nodes is empty while it does not lead.
func (l *Leader) nodes() watchman.Report {
	l.mu.Lock()
	nodes := l.watchman
	l.mu.Unlock()
	if nodes == nil {
		return watchman.Report{}
	}
	return nodes.Report()
}

// WriteProblems writes every problem of the last round and of the nodes, a line each.
func (l *Leader) WriteProblems(w io.Writer) error {
	problems := append(slices.Clone(l.lastRound().problems), l.nodes().Problems...)
	for _, p := range slices.SortedFunc(slices.Values(problems), cluster.Problem.Compare) {
		if _, err := fmt.Fprintln(w, p.Error()); err != nil {
			return err
		}
	}
	return nil
}

func (l *Leader) lastRound() *roundReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.round == nil {
		return &roundReport{}
	}
	return l.round
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// WriteWork writes what launched services should have, what there is, and what is decided.
func (l *Leader) WriteWork(w io.Writer) error {
	l.mu.Lock()
	hands := l.foreman
	l.mu.Unlock()
	if hands == nil {
		return foreman.ErrNothingYet
	}
	return hands.WriteReport(w)
}
