package simulate

import (
	"fmt"
	"sync"

	"github.com/weir-lb/weir/cluster"
)

// ran is Run for tests. A scenario comes to the same each time, so that those that look at the same one share a run.
func ran(s Scenario, policy cluster.Balance) Outcome {
	run, _ := shared.LoadOrStore(fmt.Sprintf("%s %#v", policy, s), sync.OnceValue(func() Outcome { return Run(s, policy) }))
	return run.(func() Outcome)()
}

var shared sync.Map

// compared is Compare for tests, in the same way.
func compared(s Scenario) (out []Outcome) {
	for _, policy := range Policies {
		out = append(out, ran(s, policy))
	}
	return out
}
