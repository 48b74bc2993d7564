package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteChecks is a page of what this node checks, and what it thinks of it.
func (c *Checker) WriteChecks(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tINSTANCE\tCHECK\tTO\tVERDICT\tSINCE\tCHECKS\tFAILED\tIN ROW\tMS\tREASON")
	c.mu.Lock()
	now := c.now()
	for _, id := range slices.SortedFunc(maps.Keys(c.subjects), ID.Compare) {
		s := c.subjects[id]
		kind, to, since := "kernel", s.where, "-"
		if s.check != nil {
			kind = s.check.Kind()
		}
		if s.address.IsValid() {
			to = s.address.String()
		}
		if s.health.Verdict != "" {
			since = s.health.Since.Format(time.RFC3339)
		}
		reason := s.health.Reason
		if s.unknown != "" {
			reason = "cannot be checked: " + s.unknown
		}
		r := s.result(now)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.1f\t%s\n", id.Service, id.Instance, kind, to, word(s.health.Verdict), since, r.Checks, r.Failed, r.FailedInRow, r.LatencyMS, reason)
	}
	c.mu.Unlock() // before anything is sent to a reader who may be slow
	return t.Flush()
}
