package doctor

import (
	"slices"
	"strings"

	"github.com/weir-lb/weir/internal/plain"
)

// loadMonitors are those of nodes whose agents are in touch. Nodes that were not asked are taken to answer.
func loadMonitors(c *Cluster) (out []Finding, err error) {
	rows, err := c.told()
	if err != nil {
		return nil, err
	}
	answers, err := c.Monitors.get()
	if err != nil {
		return nil, err
	}
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	var none, silent []string
	for _, r := range rows {
		n, _ := s.Nodes.Get(r.Name)
		switch why := answers[r.Name]; {
		case !r.Alive || n == nil:
		case n.Monitor == "":
			none = append(none, r.Name)
		case why != nil:
			silent = append(silent, why.Error())
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		seen := strings.Join(silent[:min(len(silent), few)], "; ")
		out = append(out, one(Warn, "where it does not run nobody checks the node's instances; their weights do not follow their load, and it cannot look at those of a node that is gone",
			"on the node: weir agent doctor, and the agent's log; is its port open to this host?", "%s asked in vain: %s", plain.Plural(len(silent), "load monitor"), seen)...)
	}
	if len(none) > 0 {
		out = append(out, one(Note, "its instances keep their weights, and nobody checks them", "leave --loadmon=false out, or run weir loadmon there", "no load monitor on %s", plain.Few(none))...)
	}
	return out, nil
}
