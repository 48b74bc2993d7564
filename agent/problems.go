package agent

import "github.com/weir-lb/weir/cluster"

// maxProblems bounds a report, which is one value in etcd for each node, and what one pass logs.
const maxProblems = 20

// logProblems tells what became wrong and what is right again, once each.
func (a *Agent) logProblems(before, now []cluster.Problem) {
	appeared, gone := missingIn(before, now), missingIn(now, before)
	for _, p := range appeared[:min(len(appeared), maxProblems)] {
		a.c.Logger.Warn("problem", "object", p.Object, "field", p.Field, "what", p.What, "fix", p.Fix)
	}
	if more := len(appeared) - maxProblems; more > 0 {
		a.c.Logger.Warn("more problems: see /debug/problems", "problems", more)
	}
	for _, p := range gone[:min(len(gone), maxProblems)] {
		a.c.Logger.Info("problem is gone", "object", p.Object, "field", p.Field, "what", p.What)
	}
}

// missingIn are the problems that one sorted list lacks of another. Both may be long, and alike for long.
func missingIn(list, of []cluster.Problem) (out []cluster.Problem) {
	for _, p := range of {
		for len(list) > 0 && list[0].Compare(p) < 0 {
			list = list[1:]
		}
		if len(list) == 0 || list[0].Compare(p) != 0 {
			out = append(out, p)
		}
	}
	return out
}
