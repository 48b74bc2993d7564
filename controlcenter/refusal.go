package controlcenter

import (
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Fault is one mistake, with the place in the file where it stands.
type Fault struct {
	File string // "" when it was not read from a file
	Line int    // 0: unknown
	cluster.Problem
	Cause error // what callers may ask for with errors.Is, or nil
}

func (f Fault) Error() string { return place(f.File, f.Line) + f.Problem.Error() }

// Refusal is everything that is wrong with what was to be published. Nothing of it was written.
type Refusal struct{ Faults []Fault }

func (r *Refusal) Error() string {
	lines := make([]string, len(r.Faults))
	for i, f := range r.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets callers ask whether one of the faults is a conflict.
func (r *Refusal) Unwrap() (causes []error) {
	for _, f := range r.Faults {
		if f.Cause != nil {
			causes = append(causes, f.Cause)
		}
	}
	return causes
}

func (r *Refusal) add(problems ...cluster.Problem) {
	for _, p := range problems {
		r.Faults = append(r.Faults, Fault{Problem: p})
	}
}

// err is nil when nothing is wrong.
func (r *Refusal) err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return r
}
