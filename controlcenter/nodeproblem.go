package controlcenter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// NodeProblem is a Problem with the nodes that tell of it. What is wrong with a service most often is so on every node.
type NodeProblem struct {
	cluster.Problem
	Nodes []string // sorted
}

// NodeProblems are what the nodes tell of, each once, in order.
func NodeProblems(f Fleet) (out []NodeProblem) {
	tellers := map[cluster.Problem][]string{}
	for _, node := range f.telling() {
		problems, _ := f.Problems(node)
		for _, p := range problems {
			if before := tellers[p]; len(before) == 0 || before[len(before)-1] != node { // it may tell one twice
				tellers[p] = append(before, node)
			}
		}
	}
	for p, nodes := range tellers {
		out = append(out, NodeProblem{p, nodes})
	}
	slices.SortFunc(out, func(a, b NodeProblem) int {
		return cmp.Or(a.Problem.Compare(b.Problem), cmp.Compare(a.Fix, b.Fix))
	})
	return out
}

// Who are the nodes that tell of it, in words.
func (p NodeProblem) Who() string {
	if len(p.Nodes) == 1 {
		return "node " + p.Nodes[0]
	}
	return fmt.Sprintf("%d nodes (%s)", len(p.Nodes), plain.Few(p.Nodes))
}
