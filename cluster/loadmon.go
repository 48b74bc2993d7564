package cluster

import "slices"

// Loadmon is what a load monitor complains of that is a process of its own: ops/loadmons/<node>, on a lease of that process.
// One in an agent tells the same in Applied.
type Loadmon struct {
	Problems     []Problem `json:"problems"`                // the first of them
	ProblemCount int       `json:"problem_count,omitempty"` // how many there are, where Problems does not hold all
}

// maxComplaints bounds what one node tells: it is one value in etcd.
const maxComplaints = 20

// Complaining is a Loadmon with these problems, or with as many of them as are told.
func Complaining(problems []Problem) Loadmon {
	if len(problems) > maxComplaints {
		return Loadmon{Problems: problems[:maxComplaints], ProblemCount: len(problems)}
	}
	return Loadmon{Problems: problems}
}

// Same says whether two tell the same.
func (l Loadmon) Same(o Loadmon) bool {
	return l.ProblemCount == o.ProblemCount && slices.Equal(l.Problems, o.Problems)
}

// Count is how many problems there are.
func (l Loadmon) Count() int { return max(l.ProblemCount, len(l.Problems)) }
