package controlcenter

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Trouble is a Problem with who tells of it, and what led to it.
type Trouble struct {
	cluster.Problem
	Service string    `json:"service,omitempty"` // that it harms; "": none, or all
	Node    string    `json:"node,omitempty"`    // that tells of it, of several the first; "": everybody can see it
	Nodes   []string  `json:"nodes,omitempty"`   // all that tell of it, where several do
	Since   time.Time `json:"since,omitzero"`
	Output  []string  `json:"output,omitempty"` // the last lines of an instance
}

func (t Trouble) compare(o Trouble) int {
	return cmp.Or(cmp.Compare(t.Service, o.Service), t.Problem.Compare(o.Problem), cmp.Compare(t.Node, o.Node))
}

// Told is what is known of a cluster beside its snapshot.
type Told struct {
	Fleet      Fleet
	Operations *cluster.Operations // nil: not known
	Placing    []cluster.Problem   // what keeps instances from being placed, and what they ask for in vain
}

// Troubles are all that are known, or those of one service, in order.
func Troubles(s *cluster.Snapshot, told Told, service string) ([]Trouble, error) {
	rows, err := Services(s, service)
	if err != nil {
		return nil, err
	}
	var out []Trouble
	for _, row := range rows {
		for _, p := range row.Problems {
			out = append(out, Trouble{Problem: p, Service: row.Name})
		}
	}
	for _, p := range append(slices.Clone(s.Problems), told.Placing...) {
		out = append(out, Trouble{Problem: p, Service: serviceOf(p)})
	}
	for _, p := range NodeProblems(told.Fleet) {
		if slices.ContainsFunc(out, func(t Trouble) bool { return t.Problem == p.Problem }) {
			continue
		}
		t := Trouble{Problem: p.Problem, Service: serviceOf(p.Problem), Node: p.Nodes[0]}
		if len(p.Nodes) > 1 {
			t.Nodes = p.Nodes
		}
		out = append(out, t)
	}
	out = append(out, ofLaunched(told.Operations)...)
	out = slices.DeleteFunc(out, func(t Trouble) bool { return service != "" && t.Service != service })
	slices.SortFunc(out, Trouble.compare)
	return out, nil
}

// serviceOf is whose a problem is, as far as its object says so.
func serviceOf(p cluster.Problem) string {
	for _, before := range []string{"service ", "key net/services/"} {
		if name, ok := strings.CutPrefix(p.Object, before); ok {
			return name
		}
	}
	return ""
}

// ofLaunched is what launchers tell of instances that do not run as they should.
func ofLaunched(ops *cluster.Operations) (out []Trouble) {
	if ops == nil {
		return nil
	}
	for _, node := range slices.Sorted(maps.Keys(ops.Launched)) {
		for _, id := range slices.Sorted(maps.Keys(ops.Launched[node])) {
			l := ops.Launched[node][id]
			if p, bad := ailing(id, l); bad {
				out = append(out, Trouble{Problem: p, Service: l.Service, Node: node, Since: l.Since, Output: l.Output})
			}
		}
	}
	return out
}

// ailing says what is wrong with a launched instance.
func ailing(id string, l cluster.Launched) (cluster.Problem, bool) {
	p := cluster.Problem{Object: "instance " + id, Fix: "see weir logs " + l.Service + " --instance " + id}
	switch {
	case l.Problem != nil:
		p = *l.Problem
	case l.Phase == cluster.PhaseCrashed:
		p.What = "it does not run"
	case l.Phase == cluster.PhaseStarting && l.Exit != "": // one that ends soon after each start is this as often as the other
		p.What = "it was started again, and is not ready yet"
	default:
		return p, false
	}
	if l.Phase == cluster.PhaseCrashed || l.Phase == cluster.PhaseStarting {
		if l.Exit != "" && !strings.Contains(p.What, l.Exit) {
			p.What += "; its last end: " + l.Exit
		}
		if !l.NextTry.IsZero() {
			p.What += "; it is started again at " + l.NextTry.UTC().Format(time.RFC3339)
		}
	}
	return p, true
}
