package describe

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// Wanted is how many instances of a service should serve, and who says so.
type Wanted struct {
	Replicas int       `json:"replicas"`
	By       string    `json:"by"` // operator, file, or what decided of a number that follows the load
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"`
}

// Run is one instance that a launcher keeps, with what it tells of it.
type Run struct {
	ID      string         `json:"id"`
	Node    string         `json:"node"`
	Address string         `json:"address,omitempty"` // "": its driver says where it is
	Wanted  cluster.Wanted `json:"wanted"`
	Phase   cluster.Phase  `json:"phase,omitempty"` // "": its launcher said nothing yet
	Since   time.Time      `json:"since,omitzero"`  // of Phase
	Starts  int            `json:"starts,omitempty"`
	Exit    string         `json:"exit,omitempty"` // its last end, in words
}

// wantedOf says how many of a service there should be; nil where nobody decides that.
func wantedOf(in *cluster.Inputs, k Known) *Wanted {
	if k.Operations == nil {
		return nil
	}
	due, decided := controlcenter.AllDue(k.Snapshot, k.Operations)[in.Service.Name]
	if !decided {
		return nil
	}
	w := &Wanted{Replicas: due, By: "file"}
	if s, there := k.Operations.Scaled[in.Service.Name]; there && !s.Withdrawn && (s.Pinned || in.Service.Scale != nil) {
		w.By, w.Reason, w.Since = cmp.Or(s.By, w.By), s.Reason, s.Since
	}
	return w
}

func (w *Wanted) String() string {
	text := fmt.Sprintf("%d, by %s", w.Replicas, w.By)
	switch w.By {
	case "file":
		return fmt.Sprintf("%d, as the file says", w.Replicas)
	case "operator":
		text = fmt.Sprintf("%d, by an operator", w.Replicas)
	}
	if !w.Since.IsZero() {
		text += " since " + w.Since.UTC().Format(time.RFC3339)
	}
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	return text
}

// runsOf are a service's instances that launchers keep, in order of node and id.
func runsOf(name string, ops *cluster.Operations) (out []Run) {
	if ops == nil {
		return nil
	}
	for _, node := range slices.Sorted(maps.Keys(ops.Assigned)) {
		for _, id := range slices.Sorted(maps.Keys(ops.Assigned[node])) {
			a := ops.Assigned[node][id]
			if a.Service != name || a.Kind != cluster.KindInstance {
				continue
			}
			l := ops.Launched[node][id]
			out = append(out, Run{ID: id, Node: node, Address: reached(a), Wanted: a.Wanted, Phase: l.Phase, Since: l.Since, Starts: l.Starts, Exit: l.Exit})
		}
	}
	return out
}

// reached is where an instance is: its first port stands for all.
func reached(a cluster.Assignment) string {
	if !a.Address.IsValid() || len(a.Ports) == 0 {
		return ""
	}
	return netip.AddrPortFrom(a.Address, a.Ports[slices.Min(slices.Collect(maps.Keys(a.Ports)))]).String()
}

func (d *Service) runs(p *page, now time.Time) {
	if len(d.Runs) == 0 {
		return
	}
	t := tabwriter.NewWriter(writer{p}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  INSTANCE\tNODE\tADDRESS\tPHASE\tWANTED\tSTARTS\tSINCE\tLAST END")
	for _, r := range d.Runs {
		since := ""
		if !r.Since.IsZero() {
			since = passed(r.Since, now)
		}
		cells := []string{r.ID, r.Node, r.Address, string(r.Phase), string(r.Wanted), fmt.Sprint(r.Starts), since, r.Exit}
		for i, text := range cells {
			cells[i] = cell(text)
		}
		fmt.Fprintln(t, "  "+strings.Join(cells, "\t"))
	}
	_ = t.Flush() // the page keeps its error
}
