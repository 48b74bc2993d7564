package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/internal/lab"
)

// ScaleReport is what the story of scaling has seen, as JSON for programs.
type ScaleReport struct {
	Nodes []string `json:"nodes"`
	Acts  []Act    `json:"acts"`
}

// Act is one thing that happens, and what became of connections in its time.
type Act struct {
	Name    string  `json:"name"`               // start, triple, kill-instance, kill-node, return, drain-node, fall
	Title   string  `json:"title"`              // for people
	May     string  `json:"may_fail,omitempty"` // why connections may fail in it; left out: none may
	TookS   float64 `json:"took_s"`             // until everything was as it should be
	WithinS float64 `json:"within_s,omitempty"` // what was promised of that; left out: nothing
	Note    string  `json:"note"`
	Also    string  `json:"broken_promise,omitempty"` // beside time and connections
	lab.Tally
}

// lost are the connections that did not go well.
func (a Act) lost() int { return a.Failed + a.Broken }

// counts are the connections of its time, in words.
func (a Act) counts() string {
	text := fmt.Sprintf("%d connections, %d failed, %d broken", a.Connections, a.Failed, a.Broken)
	if a.lost() > 0 {
		text += " (" + counted(a.Reasons) + ")"
	}
	return text
}

func counted(reasons map[string]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, reasons[reason]))
	}
	return strings.Join(parts, ", ")
}

// Broken are the promises that were not kept.
func (r *ScaleReport) Broken() (out []string) {
	for _, a := range r.Acts {
		if a.May == "" && a.lost() > 0 {
			out = append(out, fmt.Sprintf("%s: %d of %d connections failed or broke (%s), where none may", a.Title, a.lost(), a.Connections, counted(a.Reasons)))
		}
		if a.Also != "" {
			out = append(out, fmt.Sprintf("%s: %s", a.Title, a.Also))
		}
		if a.WithinS > 0 && a.TookS > a.WithinS {
			out = append(out, fmt.Sprintf("%s: it took %.1f s, and %.0f s are promised", a.Title, a.TookS, a.WithinS))
		}
	}
	return out
}

// String is the table at the end.
func (r *ScaleReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-34s %7s %9s %11s %7s %7s\n", "", "took", "promised", "connections", "failed", "broken")
	var strict, spared lab.Tally
	for _, a := range r.Acts {
		fmt.Fprintf(&b, "%-34s %5.1f s %7.0f s %11d %7d %7d\n", a.Title, a.TookS, a.WithinS, a.Connections, a.Failed, a.Broken)
		into := &strict
		if a.May != "" {
			into = &spared
		}
		into.Connections, into.Failed, into.Broken = into.Connections+a.Connections, into.Failed+a.Failed, into.Broken+a.Broken
	}
	fmt.Fprintf(&b, "\nWhere none may fail: %d of %d connections failed, %d broke.\n", strict.Failed, strict.Connections, strict.Broken)
	fmt.Fprintf(&b, "Where some have to:  %d of %d connections failed, %d broke.\n", spared.Failed, spared.Connections, spared.Broken)
	for _, a := range r.Acts {
		if a.May != "" {
			fmt.Fprintf(&b, "  %d as %s: %s\n", a.lost(), a.Title, a.May)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
