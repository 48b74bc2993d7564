package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/doctor"
	"github.com/weir-lb/weir/internal/plain"
)

// worthy are the doctor's checks whose warnings need a person soon. Others are worth a look one day: "weir doctor" has all.
var worthy = []string{"endpoints", "alarms", "members", "space", "certificates", "values", "guard", "nodes", "lag", "problems"}

func findings(k Known) (out []Problem) {
	c := &doctor.Cluster{Etcd: k.Diagnosis, Snapshot: doctor.Known(k.Snapshot), Fleet: doctor.Known(k.Fleet), Now: k.Now}
	for _, f := range doctor.CheckCluster(c) {
		if f.Severity >= doctor.Warn && slices.Contains(worthy, f.Check) {
			out = append(out, Problem{f.Seen, f.Fix})
		}
	}
	return out
}

func leading(l Leader) []Problem {
	if l.Name == "" {
		return []Problem{{"no control center leads: weights and numbers of instances stay as they are, and nothing is replaced", "start one: weir controlcenter serve"}}
	}
	return nil
}

// launching says which nodes have instances and no launcher, and what could not be read of what they tell.
func launching(k Known) (out []Problem) {
	var lost []string
	for _, node := range slices.Sorted(maps.Keys(k.Operations.Assigned)) {
		if _, there := k.Operations.Launchers[node]; !there && k.Snapshot.Down[node] == nil && runs(k.Operations, node) {
			lost = append(lost, node)
		}
	}
	if len(lost) > 0 {
		out = append(out, Problem{"instances run, and no launcher looks after them, on " + plain.Few(lost), "on the node: systemctl status weir-launcher"})
	}
	out = append(out, otherwise(k.Operations)...)
	for _, p := range k.Operations.Problems {
		out = append(out, Problem{p.Object + ": " + p.What, cmp.Or(p.Fix, "etcdctl get KEY")})
	}
	return out
}

// otherwise tells of instances that serve, and of which something is not as it was asked for, as a limit that their host cannot set.
func otherwise(ops *cluster.Operations) []Problem {
	var nodes []string
	var first *cluster.Problem
	count := 0
	for _, node := range slices.Sorted(maps.Keys(ops.Launched)) {
		before := count
		for _, id := range slices.Sorted(maps.Keys(ops.Launched[node])) {
			if l := ops.Launched[node][id]; l.Phase == cluster.PhaseReady && l.Problem != nil {
				first = cmp.Or(first, l.Problem)
				count++
			}
		}
		if count > before {
			nodes = append(nodes, node)
		}
	}
	if count == 0 {
		return nil
	}
	return []Problem{{fmt.Sprintf("%d serving instances are not as they were asked to be, on %s; the first, %s: %s", count, plain.Few(nodes), first.Object, first.Wrong()), "weir get problems"}}
}

func runs(ops *cluster.Operations, node string) bool {
	for id := range ops.Assigned[node] {
		if !ops.Launched[node][id].Refused() {
			return true
		}
	}
	return false
}

func told(p *Page) (out []Problem) {
	if p == nil {
		return nil
	}
	for _, line := range p.Problems {
		out = append(out, Problem{"the leader: " + line, "weir events; its pages /debug/problems and /debug/state"})
	}
	if p.Error != "" {
		out = append(out, Problem{"the leader: " + p.Error, "its log, and its page /debug/leader"})
	}
	return out
}
