package top

import (
	"fmt"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/plain"
)

// Nodes are the nodes of a scene, by name.
func Nodes(s Scene) []Node {
	rows, _ := controlcenter.Nodes(s.Snapshot, s.Fleet, "", s.Now) // it fails only for a name that is not there
	out := make([]Node, len(rows))
	for i, row := range rows {
		out[i] = Node{
			Name: row.Name, State: row.State, Reason: row.Reason, Instances: row.Instances, Applied: row.Applied, Lag: row.Lag, Repairs: row.Repairs, Problems: row.ProblemCount,
		}
		out[i].monitor(s)
	}
	return out
}

// monitor fills in what the node's load monitor said of the host, or why that is not known.
func (n *Node) monitor(s Scene) {
	node, known := s.Snapshot.Nodes.Get(n.Name)
	h := s.Past.nodes[n.Name]
	switch {
	case !known || node.Monitor == "":
		n.Monitor = MonitorNone
		return
	case h == nil:
		n.Monitor = MonitorUnread
		return
	case h.err != nil:
		n.Monitor, n.Why = MonitorFailed, h.err.Error()
	case h.after == nil:
		n.Monitor = MonitorFailed
	case s.Past.newest(n.Name, s.Now) == nil:
		n.Monitor = MonitorSilent
	default:
		n.Monitor = MonitorOK
	}
	if len(h.problems) > 0 && n.Why == "" {
		n.Why = h.problems[0].Error()
	}
	if fresh := s.Past.newest(n.Name, s.Now); fresh != nil {
		host := fresh.after.host
		if host.Processors > 0 {
			n.CPU = &host.CPU
		}
		n.Memory, n.Conntrack = part(host.MemoryBytes, host.MemoryTotalBytes), part(host.Conntrack, host.ConntrackMax)
	}
}

func part(some, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	v := float64(some) / float64(all)
	return &v
}

// Asked are the nodes whose load monitors have something to say: all that tell where theirs answers.
func Asked(s *cluster.Snapshot) []string {
	var names []string
	for name, node := range s.Nodes.All() {
		if node.Monitor != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Silence says of which nodes the loads are not known, and why of the first.
func Silence(nodes []Node) []string {
	var out []string
	for _, state := range []string{MonitorFailed, MonitorSilent, MonitorOK} {
		var such []Node
		for _, n := range nodes {
			if n.Monitor == state && n.Why != "" {
				such = append(such, n)
			}
		}
		if len(such) == 0 {
			continue
		}
		note := "loads are missing: " + such[0].Why
		if n := len(such) - 1; n > 0 {
			note += fmt.Sprintf(" (and those of %s)", plain.Plural(n, "more node"))
		}
		out = append(out, note)
	}
	return out
}
