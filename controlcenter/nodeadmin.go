package controlcenter

import (
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// PlanNodeDrain says what draining a node would change: nothing new is placed there, launched instances move to other nodes as
// soon as their substitutes are ready, and those that were published by hand take no new connections. One of these that is
// the last to serve a service is refused with cluster.ErrUnsafe, unless forced.
func PlanNodeDrain(s *cluster.Snapshot, fleet Fleet, word NodeWord, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: word.Node, What: "drained"}
	if _, err := nodeNamed(s, fleet, word.Node, now); err != nil {
		return p, err
	}
	next := admin(s, word.Node)
	if next.Drain {
		return p, nil
	}
	next.Drain, next.Reason, next.Since = true, word.Reason, now
	var last []string
	for _, in := range hosted(s, word.Node) {
		moved := 0
		for _, i := range in.Registered {
			if i.Node == word.Node && in.Service.Run != nil {
				moved++
			}
		}
		if moved > 0 {
			p.Steps = append(p.Steps, Step{Sign: "~", What: fmt.Sprintf("service %s: %d launched instances", in.Service.Name, moved), From: "this node", To: "others, each once its substitute is ready"})
		}
		before, after := taking(in), taking(administered(in, word.Node, &next))
		if before > after {
			p.Steps = append(p.Steps, Step{Sign: "-", What: fmt.Sprintf("service %s: %d of the %d instances that take new connections", in.Service.Name, before-after, before)})
		}
		if before > 0 && after == 0 {
			last = append(last, in.Service.Name)
		}
	}
	if len(last) > 0 && !word.Force {
		return p, fmt.Errorf("%w: no instance of service %s would take new connections: give them others first, or use --force", cluster.ErrUnsafe, plain.Few(last))
	}
	p.Change = cluster.SetNodeAdmin{Node: word.Node, Admin: &next}
	return p, nil
}

// PlanNodeCordon has nothing new placed on a node; what runs there stays.
func PlanNodeCordon(s *cluster.Snapshot, fleet Fleet, word NodeWord, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: word.Node, What: "cordoned"}
	if _, err := nodeNamed(s, fleet, word.Node, now); err != nil {
		return p, err
	}
	next := admin(s, word.Node)
	if next.Cordon {
		return p, nil
	}
	next.Cordon, next.Reason, next.Since = true, word.Reason, now
	p.Change = cluster.SetNodeAdmin{Node: word.Node, Admin: &next}
	return p, nil
}

// PlanNodeUncordon takes back that a node is cordoned or drained.
func PlanNodeUncordon(s *cluster.Snapshot, fleet Fleet, word NodeWord, now time.Time) (NodePlan, error) {
	p := NodePlan{Node: word.Node, What: "open to new instances"}
	if _, err := nodeNamed(s, fleet, word.Node, now); err != nil || s.NodeAdmin[word.Node] == nil {
		return p, err
	}
	for _, in := range hosted(s, word.Node) {
		if before, after := taking(in), taking(administered(in, word.Node, nil)); after > before {
			p.Steps = append(p.Steps, Step{Sign: "+", What: again(in.Service.Name, after-before)})
		}
	}
	p.Change = cluster.SetNodeAdmin{Node: word.Node}
	return p, nil
}

// admin is what is said of a node now.
func admin(s *cluster.Snapshot, node string) cluster.NodeAdmin {
	if a := s.NodeAdmin[node]; a != nil {
		return *a
	}
	return cluster.NodeAdmin{}
}

// administered is a service's inputs as if something else were said of a node.
func administered(in *cluster.Inputs, node string, a *cluster.NodeAdmin) *cluster.Inputs {
	return altered(in, node, func(h *cluster.Host) { h.Admin = a })
}
