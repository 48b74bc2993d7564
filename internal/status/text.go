package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-lb/weir/internal/plain"
)

// shown is how many problems one screen shows; data has all.
const shown = 12

// Text writes the picture for people, on one screen. Whatever somebody else wrote is one line here; the caller makes it
// printable.
func (s Status) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(head, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", head, flat(fmt.Sprintf(format, args...)))
	}
	line("leader", "%s", s.Leader.words(s.At))
	line("etcd", "%s", s.Etcd.words())
	for _, m := range s.Etcd.Members {
		line("", "%s", m.words())
	}
	line("nodes", "%s", s.Nodes.words())
	line("agents", "%s", s.Agents.words())
	line("launchers", "%s", s.Launchers.words())
	line("guards", "%s", s.Guards.words())
	line("services", "%s", s.Services.words())
	line("problems", "%s", s.verdict())
	if err := t.Flush(); err != nil {
		return err
	}
	for i, p := range s.Problems {
		if i == shown {
			if _, err := fmt.Fprintf(w, "  and %d more: weir status -o json\n", len(s.Problems)-shown); err != nil {
				return err
			}
			break
		}
		if _, err := fmt.Fprintf(w, "  %s\n    -> %s\n", flat(p.What), flat(p.Look)); err != nil {
			return err
		}
	}
	return nil
}

// flat keeps one value one line.
func flat(text string) string { return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(text) }

func (s Status) verdict() string {
	if len(s.Problems) == 0 {
		return "none: nothing needs a person"
	}
	return fmt.Sprintf("%d", len(s.Problems))
}

func (l Leader) words(now time.Time) string {
	if l.Name == "" {
		return "none"
	}
	text := fmt.Sprintf("%s since %s (%s), term %d", l.Name, l.Since.UTC().Format(time.RFC3339), now.Sub(l.Since).Round(time.Second), l.Term)
	if len(l.Others) > 0 {
		text += "; would follow: " + plain.Few(l.Others)
	} else {
		text += "; nobody would follow"
	}
	if !l.Asked {
		text += "; not asked itself"
		if l.Pages != "" {
			text += " (" + l.Pages + ")"
		}
	}
	return text
}

func (e Etcd) words() string {
	ok := 0
	for _, m := range e.Members {
		if m.OK {
			ok++
		}
	}
	text := fmt.Sprintf("%d of %d members are well", ok, len(e.Members))
	if e.Leader != "" {
		text += ", " + e.Leader + " leads"
	}
	return text
}

func (m Member) words() string {
	name := m.URL
	if m.Name != "" {
		name = m.Name + " " + m.URL
	}
	if m.Version == "" {
		return name + ": " + m.Error
	}
	text := fmt.Sprintf("%s: %s, database %.1f MiB", name, m.Version, float64(m.Size)/(1<<20))
	if m.Quota > 0 {
		text += fmt.Sprintf(" of %d", m.Quota>>20)
	}
	if m.Error != "" {
		text += ", " + m.Error
	}
	if len(m.Alarms) > 0 {
		text += ", ALARM " + strings.Join(m.Alarms, "; ")
	}
	return text
}

func (n Nodes) words() string {
	if len(n.States) == 0 {
		return "none"
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(n.States)) {
		part := fmt.Sprintf("%d %s", n.States[state], state)
		if names := n.Names[state]; len(names) > 0 {
			part += " (" + plain.Few(names) + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func (a Agents) words() string {
	text := fmt.Sprintf("revision %d is applied on %d of %d", a.Newest, a.Applied, a.Of)
	if len(a.Behind) > 0 {
		text += fmt.Sprintf("; up to %d behind: %s", a.Lag, plain.Few(a.Behind))
	}
	return text
}

func (l Launchers) words() string {
	if len(l.Nodes)+l.Assigned+l.Leaving+l.Lost == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d (%s); %d of %d instances are ready", len(l.Nodes), plain.Few(l.Nodes), l.Ready, l.Assigned)
	if l.Leaving > 0 {
		text += fmt.Sprintf(", %d leave", l.Leaving)
	}
	if l.Lost > 0 {
		text += fmt.Sprintf(", %d are on nodes that are down", l.Lost)
	}
	return text
}

func (g Guards) words() string {
	var parts []string
	add := func(names []string, format string) {
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf(format, plain.Few(names)))
		}
	}
	if g.Paused {
		parts = append(parts, "PAUSED: nothing is decided automatically (weir resume)")
	}
	add(g.Deletions, "deletions are held back by %s (weir guard)")
	add(g.Nodes, "not declared down, though it may be: %s (weir get nodes)")
	add(g.Rollback, "etcd fell back to an older state, says %s (weir guard)")
	add(g.Insecure, "--insecure-etcd: %s")
	if len(parts) == 0 {
		return "none holds anything back"
	}
	return strings.Join(parts, "; ")
}

func (s Services) words() string {
	text := fmt.Sprintf("%d ready, %d short, %d without an instance", s.Ready, s.Short, s.Zero)
	if s.Panic > 0 {
		text += fmt.Sprintf(", %d in panic", s.Panic)
	}
	if s.Asleep > 0 {
		text += fmt.Sprintf(", %d asleep", s.Asleep)
	}
	return text
}
