package describe

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// Text writes a service for people. Whatever somebody else wrote is one line here; the caller makes it printable, and the
// service file YAML.
func (d *Service) Text(w io.Writer, now time.Time, file string) error {
	p := &page{w: w}
	d.head(p)
	p.section("instances", len(d.Rows) > 0, func() { d.instances(p) })
	p.section("not as they should be", d.ailing(), func() { d.reasons(p, now) })
	p.section("problems", len(d.Problems) > 0, func() {
		for _, problem := range d.Problems {
			p.line("  %s", problem.Error())
		}
	})
	p.section("launched", len(d.Runs)+len(d.Launched) > 0, func() {
		d.runs(p, now)
		d.launched(p, now)
	})
	p.section("nodes", len(d.Nodes) > 0, func() { d.nodes(p, now) })
	p.section("events", len(d.Events) > 0, func() {
		for _, e := range d.Events {
			p.line("  %s  %s  %s", e.At.UTC().Format(time.RFC3339), e.What, e.Reason)
		}
	})
	p.section("notes", len(d.Notes) > 0, func() {
		for _, note := range d.Notes {
			p.line("  %s", note)
		}
	})
	p.section("file", true, func() {
		for line := range strings.Lines(file) {
			p.line("  %s", strings.TrimRight(line, "\n"))
		}
	})
	return p.err
}

// page keeps the first error, so that who writes on it need not look each time.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	text := strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(fmt.Sprintf(format, args...))
	p.raw(text + "\n")
}

func (p *page) raw(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}

func (p *page) section(title string, some bool, body func()) {
	if !some {
		return
	}
	p.line("%s", title)
	body()
}

func (d *Service) status() string {
	if d.Status == controlcenter.Asleep {
		return d.Status + ": it has no instance until somebody connects; that connection waits"
	}
	return fmt.Sprintf("%s: %d of %d instances take connections", d.Status, d.Taking, d.Instances)
}

func (d *Service) head(p *page) {
	p.line("service %s", d.Name)
	balance := d.Balance
	if d.Blend != nil {
		balance += fmt.Sprintf(", blend %d", *d.Blend)
	}
	if d.Paused {
		balance += "; automatic decisions are paused (weir resume)"
	}
	wanted := ""
	if d.Wanted != nil {
		wanted = d.Wanted.String()
	}
	for _, line := range [][2]string{
		{"frontends", cmp.Or(strings.Join(d.Frontends, " "), "none")},
		{"status", d.status()}, {"wanted", wanted},
		{"balance", balance}, {"affinity", d.Affinity}, {"locality", d.Locality}, {"sources", d.Sources},
		{"check", d.Check}, {"load", d.Load}, {"latency", d.Latency}, {"revision", fmt.Sprint(d.Revision)},
	} {
		if line[1] != "" {
			p.line("  %-9s  %s", line[0], line[1])
		}
	}
}

func (d *Service) instances(p *page) {
	t := tabwriter.NewWriter(writer{p}, 0, 0, 2, ' ', 0)
	columns := "  INSTANCE\tNODE\tZONE\tSTATE\tWEIGHT\tBY\tSHARE\tACTIVE\tBUSY\tLATENCY\tCPUS\tMEMORY\tFILES"
	asked := d.File.Load != nil
	if asked {
		columns += "\tSAYS"
	}
	fmt.Fprintln(t, columns)
	for _, i := range d.Rows {
		cells := []string{i.ID, i.Node, i.Zone, string(i.State), fmt.Sprint(i.Weight), string(i.By), fmt.Sprintf("%.1f%%", i.Share)}
		cells = append(cells, measured(i)...)
		if asked {
			cells = append(cells, says(i))
		}
		for n, text := range cells {
			if n == 0 {
				fmt.Fprint(t, "  ")
			} else {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell(text))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // the page keeps its error
}

// writer passes a table on to the page.
type writer struct{ *page }

func (w writer) Write(text []byte) (int, error) {
	w.raw(string(text))
	return len(text), w.err
}

// cell keeps one value one cell.
func cell(text string) string {
	return cmp.Or(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(text), "-")
}

// measured are the figures of an instance in words; what is not known is empty.
func measured(i Instance) []string {
	l := i.Load
	if l == nil {
		return make([]string, 6)
	}
	out := []string{fmt.Sprint(l.Active), fmt.Sprintf("%.0f%%", 100*l.Busy), "", "", "", ""}
	if l.LatencyMS > 0 {
		out[2] = fmt.Sprintf("%.1fms", l.LatencyMS)
	}
	if l.QuotaCPUs > 0 {
		out[3] = fmt.Sprintf("%.4g", l.QuotaCPUs)
	}
	out[4] = ofLimit(bytes(l.MemoryBytes), l.MemoryBytes, bytes(l.MemoryLimitBytes), l.MemoryLimitBytes)
	out[5] = ofLimit(fmt.Sprint(l.OpenFiles), l.OpenFiles, fmt.Sprint(l.OpenFilesLimit), l.OpenFilesLimit)
	return out
}

// says is what an instance's application says of itself, by the service's load; "" where nothing of the last seconds is known.
func says(i Instance) string {
	switch l := i.Load; {
	case l == nil:
	case l.Utilization != nil:
		return fmt.Sprintf("%.0f%%", 100**l.Utilization)
	case l.Wish != nil:
		return fmt.Sprintf("wishes %.0f%%", 100**l.Wish)
	}
	return ""
}

// ofLimit is "12 of 20", without a limit that is not known.
func ofLimit(used string, n uint64, limit string, most uint64) string {
	switch {
	case n == 0:
		return ""
	case most == 0:
		return used
	}
	return used + " of " + limit
}

func bytes(n uint64) string {
	const unit = 1024
	switch {
	case n < unit*unit:
		return fmt.Sprintf("%d KiB", (n+unit-1)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%d MiB", n/(unit*unit))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(unit*unit*unit))
}

func (d *Service) ailing() bool {
	for _, i := range d.Rows {
		if i.State != cluster.Serving {
			return true
		}
	}
	return false
}

func (d *Service) reasons(p *page, now time.Time) {
	for _, i := range d.Rows {
		if i.State == cluster.Serving {
			continue
		}
		text := fmt.Sprintf("%s: %s", i.ID, i.State)
		if !i.Since.IsZero() {
			text += fmt.Sprintf(" since %s (%s)", i.Since.UTC().Format(time.RFC3339), passed(i.Since, now))
		}
		if i.Reason != "" {
			text += ": " + i.Reason
		}
		if i.Output != "" {
			text += "; its check said: " + i.Output
		}
		p.line("  %s", text)
	}
}

// fewLines is how much of what an instance wrote is shown.
const fewLines = 5

func (d *Service) launched(p *page, now time.Time) {
	for _, t := range d.Launched {
		where := ""
		if t.Node != "" {
			where = " on " + t.Node
		}
		if !t.Since.IsZero() {
			where += ", " + passed(t.Since, now)
		}
		p.line("  %s%s: %s", t.Object, where, t.Wrong())
		if t.Fix != "" {
			p.line("    -> %s", t.Fix)
		}
		for _, line := range t.Output[max(0, len(t.Output)-fewLines):] {
			p.line("    | %s", line)
		}
	}
}

func (d *Service) nodes(p *page, now time.Time) {
	for _, n := range d.Nodes {
		parts := []string{}
		if n.Behind {
			parts = append(parts, "has not applied the service as it is now")
		}
		if n.Refused {
			parts = append(parts, "its kernel refused a frontend")
		}
		for _, problem := range n.Problems {
			parts = append(parts, problem.Error())
		}
		if n.Repairs > 0 {
			text := fmt.Sprintf("%d repairs of its rules", n.Repairs)
			if n.Last != nil {
				text += fmt.Sprintf(", the last %s: %s", passed(n.Last.At, now), n.Last.What)
			}
			parts = append(parts, text)
		}
		p.line("  %s (%s): %s", n.Name, n.State, strings.Join(parts, "; "))
	}
}

// passed is how long ago something was, by one unit. Clocks differ: what seems to come is now.
func passed(at, now time.Time) string {
	switch d := max(0, now.Sub(at)); {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}
