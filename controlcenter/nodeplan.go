package controlcenter

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// NodePlan is what an operator's word about a node's end would change. It is printable, and nothing has been written yet.
type NodePlan struct {
	Node     string         `json:"node"`
	What     string         `json:"what"` // declared down, no longer down, forgotten
	Steps    []Step         `json:"steps"`
	Warnings []string       `json:"warnings,omitempty"`
	Change   cluster.Change `json:"-"` // nil: it already is so
}

// Nothing says that everything already is as wanted.
func (p NodePlan) Nothing() bool { return p.Change == nil }

// String is one line for the node and one for each step and warning.
func (p NodePlan) String() string {
	lines := []string{fmt.Sprintf("node %s is %s", p.Node, p.What)}
	if p.Nothing() {
		lines[0] = fmt.Sprintf("node %s is already %s", p.Node, p.What)
	}
	for _, s := range p.Steps {
		lines = append(lines, "  "+s.String())
	}
	for _, w := range p.Warnings {
		lines = append(lines, "  warning: "+w)
	}
	return strings.Join(lines, "\n")
}

// NodeWord is what an operator says of a node.
type NodeWord struct {
	Node   string
	Reason string
	Force  bool
}

// PlanDown says what declaring a node down would change. A node whose agent is in touch is refused with
// cluster.ErrUnsafe, and so is, unless forced, one that is the last to serve a service.
func PlanDown(s *cluster.Snapshot, fleet Fleet, word NodeWord, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: word.Node, What: "declared down"}
	row, err := nodeNamed(s, fleet, word.Node, now)
	switch {
	case err != nil:
		return p, err
	case row.Alive:
		return p, fmt.Errorf("%w: node %s is alive: its agent is in touch with etcd, so drain its instances instead", cluster.ErrUnsafe, word.Node)
	case s.Down[word.Node] != nil:
		return p, nil
	}
	down := &cluster.Down{Reason: word.Reason, Since: now}
	var last []string
	for _, in := range hosted(s, word.Node) {
		before, after := taking(in), taking(without(in, word.Node, down))
		if before == after {
			continue
		}
		p.Steps = append(p.Steps, Step{Sign: "-", What: fmt.Sprintf("service %s: %d of the %d instances that take new connections", in.Service.Name, before-after, before)})
		if after == 0 {
			last = append(last, in.Service.Name)
		}
	}
	if len(last) > 0 && !word.Force {
		return p, fmt.Errorf("%w: no instance of service %s would take new connections: give them others first, or use --force", cluster.ErrUnsafe, plain.Few(last))
	}
	p.Change = cluster.SetDown{Node: word.Node, Down: down}
	return p, nil
}

// PlanUp takes back that a node is down.
func PlanUp(s *cluster.Snapshot, fleet Fleet, node string, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: node, What: "no longer down"}
	if _, err := nodeNamed(s, fleet, node, now); err != nil || s.Down[node] == nil {
		return p, err
	}
	for _, in := range hosted(s, node) {
		if before, after := taking(in), taking(without(in, node, nil)); after > before {
			p.Steps = append(p.Steps, Step{Sign: "+", What: again(in.Service.Name, after-before)})
		}
	}
	p.Change = cluster.SetDown{Node: node}
	return p, nil
}

// PlanForget says what forgetting a node would remove. Refused with cluster.ErrUnsafe, unless forced: a node that is alive,
// one whose launcher is there, and one that is down while instances are published by hand on its addresses, since those would be taken for well again.
func PlanForget(s *cluster.Snapshot, fleet Fleet, word NodeWord, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: word.Node, What: "forgotten"}
	row, err := nodeNamed(s, fleet, word.Node, now)
	_, launching := fleet.Launchers[word.Node]
	switch {
	case err != nil:
		return p, err
	case row.Alive && !word.Force:
		return p, fmt.Errorf("%w: node %s is alive: its agent goes on serving, and what was removed is not written again before it starts anew: stop it first, or use --force", cluster.ErrUnsafe, word.Node)
	case launching && !word.Force:
		return p, fmt.Errorf("%w: node %s has a launcher that is in touch with etcd: the instances that it keeps would be hidden, and nothing would replace them: drain the node (weir node drain %s) and stop its launcher first, or use --force",
			cluster.ErrUnsafe, word.Node, word.Node)
	}
	p.Steps = []Step{{Sign: "-", What: "node " + word.Node, From: strings.Join(row.Addresses, ", ")}}
	if down := s.Down[word.Node]; down != nil {
		p.Steps = append(p.Steps, Step{Sign: "-", What: "that it is down", From: down.Reason})
	}
	var left []string
	for _, in := range hosted(s, word.Node) {
		for _, i := range in.Registered {
			if i.Node == word.Node {
				p.Steps = append(p.Steps, Step{Sign: "-", What: fmt.Sprintf("instance %s of service %s, which it registered", i.ID, in.Service.Name)})
			}
		}
		for _, i := range in.Service.Instances {
			if in.Hosts[i.ID].Node == word.Node {
				left = append(left, in.Service.Name+"/"+i.ID)
			}
		}
	}
	if len(left) > 0 {
		p.Warnings = append(p.Warnings, "published by hand on its addresses, these instances stay, and other nodes check them: "+plain.Few(left))
	}
	if len(left) > 0 && s.Down[word.Node] != nil && !word.Force {
		return p, fmt.Errorf("%w: node %s is down, and these instances, published by hand on its addresses, would be taken for well again: %s: publish their services without them first, or use --force",
			cluster.ErrUnsafe, word.Node, plain.Few(left))
	}
	p.Change = cluster.ForgetNode{Node: word.Node, Alive: word.Force}
	return p, nil
}

// nodeNamed is the line of one node, as "get nodes" has it.
func nodeNamed(s *cluster.Snapshot, fleet Fleet, node string, now time.Time) (NodeRow, error) {
	if node == "" {
		return NodeRow{}, fmt.Errorf("name a node: see weir get nodes")
	}
	rows, err := Nodes(s, fleet, node, now)
	if err != nil {
		return NodeRow{}, err
	}
	return rows[0], nil
}

// hosted are the services that have an instance on a node, by name.
func hosted(s *cluster.Snapshot, node string) (out []*cluster.Inputs) {
	for _, in := range s.Services.All() {
		for _, h := range in.Hosts {
			if h.Node == node {
				out = append(out, in)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b *cluster.Inputs) int { return strings.Compare(a.Service.Name, b.Service.Name) })
	return out
}

// without is a service's inputs as if a node were down, or not.
func without(in *cluster.Inputs, node string, down *cluster.Down) *cluster.Inputs {
	return altered(in, node, func(h *cluster.Host) { h.Down = down })
}

// altered is a service's inputs with something else said of a node.
func altered(in *cluster.Inputs, node string, change func(*cluster.Host)) *cluster.Inputs {
	after := *in
	after.Hosts = maps.Clone(in.Hosts)
	for id, h := range after.Hosts {
		if h.Node == node {
			change(&h)
			after.Hosts[id] = h
		}
	}
	return &after
}

// again is what a plan tells of a service whose instances come back.
func again(service string, n int) string {
	if n == 1 {
		return fmt.Sprintf("service %s: 1 instance takes new connections again", service)
	}
	return fmt.Sprintf("service %s: %d instances take new connections again", service, n)
}
