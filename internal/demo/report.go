package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/internal/stats"
)

// Report is what the demo has seen, as JSON for programs.
type Report struct {
	Nodes  []string `json:"nodes"`
	Steps  []Step   `json:"steps"`
	Outage Outage   `json:"outage"` // of the instance that was killed
}

// Failed is the number of connections of all steps that no instance answered. Those of the outage, before the step's
// connections are counted, are not among them.
func (r *Report) Failed() (n int) {
	for _, s := range r.Steps {
		n += s.Failed
	}
	return n
}

// Step is one thing that was done, and how connections fared afterwards.
type Step struct {
	Name        string             `json:"name"`  // publish, add, drain, kill-agent, stop-etcd, return, kill-instance
	Title       string             `json:"title"` // what was done, for people
	Connections int                `json:"connections"`
	Failed      int                `json:"failed"`
	Shares      map[string]float64 `json:"shares"` // by the instance's address, of all nodes
	ChiSquareP  float64            `json:"chi_square_p"`
	PerNode     []NodeShares       `json:"per_node"`

	note string
}

// NodeShares is how the connections from one node spread.
type NodeShares struct {
	Node       string         `json:"node"`
	Failed     int            `json:"failed"`
	Counts     map[string]int `json:"counts"`
	ChiSquareP float64        `json:"chi_square_p"`
}

// summarize adds up the nodes.
func summarize(act act, note string, nodes []NodeShares, weights map[string]int) Step {
	s := Step{Name: act.name, Title: act.title, note: note, PerNode: nodes, Shares: map[string]float64{}}
	total := map[string]int{}
	for _, n := range nodes {
		s.Failed += n.Failed
		for id, count := range n.Counts {
			total[id] += count
		}
	}
	good := 0
	for _, count := range total {
		good += count
	}
	s.Connections = good + s.Failed
	for id := range weights {
		s.Shares[id] = float64(total[id]) / float64(max(1, good))
	}
	s.ChiSquareP = stats.ChiSquareP(total, weights)
	return s
}

// print writes a step as a table for people.
func (s Step) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", s.Title)
	if s.note != "" {
		fmt.Fprintf(w, "  %s\n", s.note)
	}
	ids := slices.Sorted(maps.Keys(s.Shares))
	fmt.Fprintf(w, "  %-5s", "node")
	for _, id := range ids {
		fmt.Fprintf(w, " %18s", id)
	}
	fmt.Fprintf(w, " %8s %7s\n", "p-value", "failed")
	for _, n := range s.PerNode {
		fmt.Fprintf(w, "  %-5s", n.Node)
		good := 0
		for _, count := range n.Counts {
			good += count
		}
		for _, id := range ids {
			fmt.Fprintf(w, " %18s", fmt.Sprintf("%d (%.1f %%)", n.Counts[id], 100*float64(n.Counts[id])/float64(max(1, good))))
		}
		fmt.Fprintf(w, " %8.3f %7d\n", n.ChiSquareP, n.Failed)
	}
	verdict := "no connection failed"
	if s.Failed > 0 {
		verdict = fmt.Sprintf("%d CONNECTIONS FAILED", s.Failed)
	}
	fmt.Fprintf(w, "  %d connections, %s\n", s.Connections, strings.TrimSpace(verdict))
}
