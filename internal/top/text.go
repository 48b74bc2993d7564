package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/plain"
)

// Screen is where a picture goes.
type Screen struct {
	Width, Height int // 0: no limit
	Order         Order
	Parts         Parts
}

// Parts says what is shown.
type Parts int

// The parts.
const (
	Both Parts = iota
	NodesOnly
	ServicesOnly
)

// Next is what the key for it leads to.
func (p Parts) Next() Parts { return (p + 1) % 3 }

// maxNotes bounds how many lines tell of what is not known.
const maxNotes = 4

// Text is the picture as lines, without a line break at the end of the last.
func (f *Frame) Text(s Screen) string {
	f.Sort(s.Order)
	lines := []string{Cut(f.headline(), s.Width)}
	for i, note := range f.Notes {
		if i == maxNotes {
			lines = append(lines, Cut(fmt.Sprintf("note: %d more", len(f.Notes)-i), s.Width))
			break
		}
		lines = append(lines, Cut("note: "+plain.Line(note, unlimited), s.Width))
	}
	left := unlimited
	if s.Height > 0 {
		left = max(0, s.Height-len(lines))
	}
	if s.Parts != ServicesOnly {
		room := left
		if s.Parts == Both && left != unlimited {
			room = max(left/4, 4) // an empty line, titles, and at least two nodes
		}
		nodes := f.nodeLines(s.Width, room)
		lines, left = append(lines, nodes...), left-len(nodes)
	}
	if s.Parts != NodesOnly {
		lines = append(lines, f.serviceLines(s.Width, left)...)
	}
	if s.Height > 0 && len(lines) > s.Height {
		lines = lines[:s.Height]
	}
	return strings.Join(lines, "\n")
}

// unlimited is more lines than there can be.
const unlimited = 1 << 30

func (f *Frame) headline() string {
	states, taking, all := map[string]int{}, 0, 0
	var rate *float64
	for _, s := range f.Services {
		states[s.Status]++
		taking, all, rate = taking+s.Taking, all+len(s.Instances), plus(rate, s.NewPerS)
	}
	nodes := map[string]int{}
	for _, n := range f.Nodes {
		nodes[n.State]++
	}
	parts := []string{
		f.At.UTC().Format("15:04:05Z"),
		plain.Plural(len(f.Services), "service") + but(states, "down", "degraded", "empty", controlcenter.Asleep),
		fmt.Sprintf("%d/%d instances taking", taking, all),
		fmt.Sprintf("%s new/s", number(rate)),
		plain.Plural(len(f.Nodes), "node") + but(nodes, "down", "gone", "unwatched", "drained", "cordoned"),
		fmt.Sprintf("revision %d", f.Revision),
	}
	if f.Paused {
		parts = append(parts, "PAUSED")
	}
	return "weir  " + strings.Join(parts, "  ")
}

// but counts what is not as it should be: " (2 down, 1 degraded)".
func but(counts map[string]int, names ...string) string {
	var parts []string
	for _, name := range names {
		if n := counts[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, name))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

var nodeColumns = []column{
	{"NODE", 0, false}, {"STATE", 0, false}, {"CPU", 0, true}, {"MEMORY", 1, true}, {"CONNTRACK", 2, true}, {"NEW/S", 3, true},
	{"INSTANCES", 8, true}, {"APPLIED", 9, true}, {"LAG", 4, true}, {"REPAIRS", 6, true}, {"PROBLEMS", 7, true}, {"LOADS", 5, false},
}

func (f *Frame) nodeLines(width, room int) []string {
	if len(f.Nodes) == 0 || room < 3 {
		return nil
	}
	shown := f.Nodes[:min(len(f.Nodes), room-2)]
	if len(shown) < len(f.Nodes) {
		shown = shown[:len(shown)-1] // for the line that says so
	}
	var rows [][]string
	for _, n := range shown {
		rows = append(rows, []string{
			n.Name, n.State, share(n.CPU), share(n.Memory), share(n.Conntrack), number(n.NewPerS), strconv.Itoa(n.Instances),
			strconv.FormatInt(n.Applied, 10), strconv.FormatInt(n.Lag, 10), strconv.Itoa(n.Repairs), strconv.Itoa(n.Problems), n.Monitor,
		})
	}
	lines := append([]string{""}, table(nodeColumns, rows, width)...)
	if hidden := len(f.Nodes) - len(shown); hidden > 0 {
		lines = append(lines, Cut(fmt.Sprintf("%d more nodes", hidden), width))
	}
	return lines
}

var serviceColumns = []column{
	{"SERVICE", 0, false}, {"NODE", 5, false}, {"STATE", 0, false}, {"WANT", 2, true}, {"HAVE", 1, true}, {"DRIFT", 4, true},
	{"NEW/S", 0, true}, {"ACTIVE", 6, true}, {"BUSY", 3, true}, {"LATENCY", 7, true},
}

// fewInstances is how many instances of a service are shown where not all have room: those that are out, then the busiest.
const fewInstances = 4

func (f *Frame) serviceLines(width, room int) []string {
	if len(f.Services) == 0 || room < 3 {
		return nil
	}
	room -= 2
	needed := 0
	for _, s := range f.Services {
		needed += 1 + len(s.Instances)
	}
	most := unlimited
	if needed > room {
		most = fewInstances
	}
	var rows [][]string
	services := 0
	for _, s := range f.Services {
		of := s.rows(most)
		if last := services+1 == len(f.Services); len(rows)+len(of) > room || !last && len(rows)+len(of) == room {
			break // one line is kept for how many are not shown
		}
		rows, services = append(rows, of...), services+1
	}
	if services == 0 { // the first alone is too much
		rows, services = f.Services[0].rows(most)[:room-1], 1
	}
	lines := append([]string{""}, table(serviceColumns, rows, width)...)
	if hidden := len(f.Services) - services; hidden > 0 {
		lines = append(lines, Cut(fmt.Sprintf("%d more services", hidden), width))
	}
	return lines
}

func (s *Service) rows(most int) [][]string {
	state := fmt.Sprintf("%s %d/%d", s.Status, s.Taking, len(s.Instances))
	drift := "-"
	if s.Drift != nil {
		drift = fmt.Sprintf("%.1f", *s.Drift)
	}
	rows := [][]string{{s.Name, "", state, "", "", drift, number(s.NewPerS), count(s.Active), share(s.Busy), millis(s.LatencyMS)}}
	shown := s.Instances
	if len(shown) > most+1 { // a line that says "1 more" would take as much room as that one
		shown = slices.Clone(shown)
		slices.SortStableFunc(shown, func(a, b Instance) int {
			if (a.Weight == 0) != (b.Weight == 0) {
				return a.Weight - b.Weight
			}
			return more(a.NewPerS, b.NewPerS)
		})
		shown = shown[:most]
	}
	for _, i := range shown {
		drift := "-"
		if i.Drift != nil {
			drift = fmt.Sprintf("%+.1f", *i.Drift)
		}
		rows = append(rows, []string{
			"  " + i.ID, dash(i.Node), string(i.State), fmt.Sprintf("%.1f%%", i.Want), percent(i.Have), drift,
			number(i.NewPerS), count(i.Active), share(i.Busy), millis(i.LatencyMS),
		})
	}
	if hidden := len(s.Instances) - len(shown); hidden > 0 {
		rows = append(rows, []string{fmt.Sprintf("  %d more", hidden), "", "", "", "", "", "", "", "", ""})
	}
	return rows
}
