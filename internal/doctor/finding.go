package doctor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Severity says how much a finding matters.
type Severity int

// The severities.
const (
	OK   Severity = iota // looked at, and as it should be
	Note                 // good to know; nothing has to be done
	Warn                 // will break one day, or is unsafe, or could not be looked at
	Fail                 // something does not work now
)

var severities = []string{"ok", "note", "warn", "fail"}

func (s Severity) String() string { return severities[s] }

// MarshalJSON writes the word.
func (s Severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Finding is what one check says of one thing.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Seen     string   `json:"seen"`
	Why      string   `json:"why,omitempty"` // it matters
	Fix      string   `json:"fix,omitempty"` // a command or a setting
}

// Worst is the severity of the worst finding.
func Worst(findings []Finding) Severity {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// check looks at one thing. It says nothing of what is fine, and fails where its facts are missing.
type check[F any] struct {
	name  string
	about string // what it looks at, for the docs and for what is fine
	worst Severity
	look  func(F) ([]Finding, error)
}

// errMoot: there is nothing that the check could be about.
var errMoot = errors.New("nothing to look at")

// run makes all findings of all checks, the worst first.
func run[F any](checks []check[F], facts F) []Finding {
	var out []Finding
	for _, c := range checks {
		found, err := c.look(facts)
		switch {
		case errors.Is(err, errMoot):
			continue
		case err != nil:
			found = append(found, Finding{Severity: Warn, Seen: "could not be looked at: " + err.Error(), Why: "nothing is known of: " + c.about,
				Fix: "mend that, and ask again"})
		case len(found) == 0:
			found = []Finding{{Severity: OK, Seen: c.about}}
		}
		for i := range found {
			found[i].Check = c.name
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return out
}

// Entry is one check as the docs list it.
type Entry struct {
	Name, About string
	Worst       Severity
}

func entries[F any](checks []check[F]) (out []Entry) {
	for _, c := range checks {
		out = append(out, Entry{c.name, c.about, c.worst})
	}
	return out
}

// Fact is something that was looked for, or why it could not be seen.
type Fact[T any] struct {
	value T
	err   error
}

// Learned is a fact out of a function's two results.
func Learned[T any](value T, err error) Fact[T] { return Fact[T]{value, err} }

// Known is a fact that was seen.
func Known[T any](value T) Fact[T] { return Fact[T]{value: value} }

func (f Fact[T]) get() (T, error) { return f.value, f.err }

// one is a finding that stands alone.
func one(s Severity, why, fix, seen string, args ...any) []Finding {
	return []Finding{{Severity: s, Seen: fmt.Sprintf(seen, args...), Why: why, Fix: fix}}
}
