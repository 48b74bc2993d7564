package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Report is all rows and the machine that they were taken on.
type Report struct {
	Machine string `json:"machine"`
	Quick   bool   `json:"quick"`
	Rows    []Row  `json:"rows"`
}

// Row is one figure, or a few that belong together.
type Row struct {
	Group   string             `json:"group"`
	What    string             `json:"what"`
	Value   string             `json:"value"`
	Numbers map[string]float64 `json:"numbers"` // what Value says, for programs; the unit ends the name
	Target  string             `json:"target,omitempty"`
	Met     *bool              `json:"met,omitempty"` // nil: there is no target
}

// want sets the row's target.
func (r Row) want(target string, met bool) Row {
	r.Target, r.Met = target, &met
	return r
}

// also adds words to the value.
func (r Row) also(format string, args ...any) Row {
	r.Value += fmt.Sprintf(format, args...)
	return r
}

func (r *Report) write(w io.Writer, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	fmt.Fprintln(w, r.Machine)
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "\t\tvalue\ttarget\tmet")
	for _, row := range r.Rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", row.Group, row.What, row.Value, row.Target, row.met())
	}
	return table.Flush()
}

func (r Row) met() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "yes"
	}
	return "NO"
}
